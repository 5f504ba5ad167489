"""A process that runs trials until the study has as many as it is to have. Several may work on one study, on many machines."""

import os
import threading
import time
from contextlib import suppress
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError

from models.errors import ParallaxError
from models.machine import usable_cpus
from training.sweep.job import Sweep
from training.sweep.queue import Dropped, Owner, Queue

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

LOOK_S = 1.0
"""Between two looks at a study in which all trials are taken."""


def main(sweep: Sweep, concurrent: int, deadline: float, complaints: "Connection[str, str]") -> None:
    """Body of a process: work, and send what went wrong, if anything. `deadline`: `time.time()` after which none is begun."""
    _end_with_parent()
    with suppress(KeyboardInterrupt):
        try:
            work(sweep, concurrent, deadline)
        except ParallaxError as exc:
            complaints.send(str(exc))


def work(sweep: Sweep, concurrent: int, deadline: float) -> None:
    """Run trials on one of `concurrent` equal shares of this machine."""
    from training import fit
    from training.sweep.trial import Objective  # TensorFlow takes seconds to load

    fit.use_machine(sweep.seed, max(1, usable_cpus() // concurrent))
    study = sweep.open()
    queue = Queue(study, sweep.slots, sweep.folder)
    with Owner(sweep.folder) as owner:
        objective = Objective(sweep, queue, owner, 1 / concurrent)
        while time.time() < deadline:
            queue.refresh()
            if queue.is_done:
                break
            if not queue.waiting():
                time.sleep(LOOK_S)  # others are at the last trials: if they die, one of us takes over
                continue
            try:
                study.optimize(objective, n_trials=1, catch=(Dropped,))
            except (ValueError, UpdateFinishedTrialError):
                if not queue.was_taken(objective.number):
                    raise


def _end_with_parent() -> None:
    """A worker whose parent was killed would go on unseen, and work beside those that take its place."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

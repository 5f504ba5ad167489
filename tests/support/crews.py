"""Stand-ins for `training.sweep.worker.main`, in a module that a spawned process finds, and without TensorFlow."""

import os
import signal
import warnings
from multiprocessing.connection import Connection

from training.sweep.job import Sweep
from training.sweep.queue import Dropped, Owner, Queue


def dies_once(sweep: Sweep, _concurrent: int, _deadline: float, _complaints: "Connection[str, str]") -> None:
    """Run trials; the first worker to take the first one is killed in the middle of it."""
    warnings.simplefilter("ignore")
    study = sweep.open()
    queue = Queue(study, sweep.slots, sweep.folder)
    with Owner(sweep.folder) as owner:
        while not queue.is_done:
            queue.refresh()
            if not queue.waiting():
                continue
            trial = study.ask()
            try:
                queue.claim(trial, owner)
            except Dropped:
                continue
            if trial.number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            study.tell(trial, 0.5)


def complains(sweep: Sweep, _concurrent: int, _deadline: float, complaints: "Connection[str, str]") -> None:
    """Say something of the sweep, as it came here."""
    complaints.send(f"epochs are {sweep.space.parameters.epochs}")


def breaks(_sweep: Sweep, _concurrent: int, _deadline: float, _complaints: "Connection[str, str]") -> None:
    """Raise what nobody foresaw."""
    raise RuntimeError("broken")

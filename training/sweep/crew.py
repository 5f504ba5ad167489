"""The worker processes of one command: begun, replaced if they are killed, and watched until the study is done."""

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from models.errors import UsageError
from training.sweep import worker
from training.sweep.job import Sweep
from training.sweep.queue import Queue

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

LOOK_S = 0.5


def run(sweep: Sweep, queue: Queue, concurrent: int, deadline: float, look: Callable[[], None]) -> bool:
    """Have the study filled, calling `look` now and then. False if Ctrl-C ended it.

    Raises `UsageError` with what a worker complained of; the others are then ended too.
    """
    if queue.is_done:
        return True
    crew = Crew(sweep, concurrent, deadline)
    try:
        while not queue.is_done:
            queue.refresh()  # a worker that was killed leaves a trial to be taken up
            look()
            if not crew.keep_going(needed=time.time() < deadline):
                break
            crew.wait(LOOK_S)
    except KeyboardInterrupt:
        return False
    else:
        return True
    finally:
        crew.end()
        look()


class Crew:
    """So many processes. They are spawned, not forked: a fork of a process with threads may hang in any of their locks."""

    def __init__(self, sweep: Sweep, concurrent: int, deadline: float) -> None:
        self._sweep = sweep
        self._concurrent = concurrent
        self._deadline = deadline
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[tuple[SpawnProcess, Connection[str, str]]] = []
        for _ in range(concurrent):
            self._begin()

    def keep_going(self, *, needed: bool) -> bool:
        """Replace workers that were killed, while they are `needed`. False if none is left. Raises `UsageError`."""
        for process, complaints in list(self._workers):
            if process.is_alive():
                continue
            self._workers.remove((process, complaints))
            with suppress(EOFError):  # it had nothing to say
                raise UsageError(complaints.recv())
            if process.exitcode and process.exitcode > 0:
                raise UsageError("a worker failed: what happened stands above. Trials that have ended are kept: see --resume")
            if process.exitcode and needed:
                self._begin()
        return bool(self._workers)

    def wait(self, seconds: float) -> None:
        """Sleep, unless a worker ends."""
        wait([process.sentinel for process, _ in self._workers], seconds)

    def end(self) -> None:
        """See all of them out. Those that have found the study done go by themselves."""
        for process, _ in self._workers:
            process.terminate()
        for process, _ in self._workers:
            process.join()

    def _begin(self) -> None:
        receive, send = self._context.Pipe(duplex=False)
        process = self._context.Process(target=worker.main, args=(self._sweep, self._concurrent, self._deadline, send))
        process.start()
        send.close()
        self._workers.append((process, receive))

"""Threads that run batches, a batch each at a time: one hop from the event loop to the lane, one back."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeAlias, TypeVar

from service.errors import BackendFailed

In = TypeVar("In")
Out = TypeVar("Out")

Work: TypeAlias = Callable[[Sequence[In]], Sequence[Out]]
Job: TypeAlias = "tuple[asyncio.Future[Sequence[Out]], Sequence[In], Work[In, Out]]"


class Crowd:
    """Those who share processors."""

    def __init__(self) -> None:
        self.busy = 0
        """Batches that were handed to lanes, whosever, and are not done yet."""


class Lanes(Generic[In, Out]):
    """`count` threads. concurrent.futures would do, at twice the cost of a hop: a lock and a condition for every call."""

    def __init__(self, work: Work[In, Out], count: int, name: str, crowd: Crowd) -> None:
        """`work` runs on the threads, several calls at once. `crowd` learns of them."""
        self._work = work
        self._jobs: SimpleQueue[Job[Out, In] | None] = SimpleQueue()
        self.count = count
        self._crowd = crowd
        for number in range(count):
            # A daemon: a call that hangs in native code must not keep the process from ending.
            threading.Thread(target=self._serve, name=f"{name}-lane-{number}", daemon=True).start()

    def run(self, batch: Sequence[In], work: Work[In, Out] | None = None) -> "asyncio.Future[Sequence[Out]]":
        """Hand a batch to the next free lane. The future belongs to the running loop and raises what `work` raised.

        `work`: for this batch, instead of the lanes' own.
        """
        future: asyncio.Future[Sequence[Out]] = asyncio.get_running_loop().create_future()
        self._crowd.busy += 1
        self._jobs.put((future, batch, work or self._work))
        return future

    def close(self) -> None:
        """End each thread once it has done what was handed over before. Does not wait."""
        for _ in range(self.count):
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, batch, work = job
            results: Sequence[Out] = ()
            error: Exception | None = None
            try:
                if not future.cancelled():
                    results = work(batch)
            except BaseException as exc:  # noqa: BLE001  # it is the callers', who await it; the lane lives on
                carried = isinstance(exc, Exception) and not isinstance(exc, StopIteration)  # what a future can carry
                error = exc if carried else BackendFailed(f"The backend failed: {type(exc).__name__}.")  # type: ignore[assignment]
            try:
                future.get_loop().call_soon_threadsafe(self._settle, future, results, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            del job, future, batch, work, results, error  # an idle lane holds no image

    def _settle(self, future: "asyncio.Future[Sequence[Out]]", results: Sequence[Out], error: Exception | None) -> None:
        self._crowd.busy -= 1
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(results)


def throughput(work: Work[In, Out], batch: Sequence[In], lanes: int, seconds: float, stop: threading.Event) -> float:
    """Items per second that so many lanes do when none ever waits for a batch. Blocks; at least one batch a lane is done.

    Raises `Interrupted` as soon as `stop` is set, once the batches under way have ended.
    """
    work(batch)
    done: list[int] = []
    until = time.perf_counter() + seconds

    def lane() -> None:
        count = 0
        while not stop.is_set() and (time.perf_counter() < until or not count):
            work(batch)
            count += len(batch)
        done.append(count)

    began = time.perf_counter()
    threads = [threading.Thread(target=lane, name="tuning", daemon=True) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if stop.is_set():
        raise Interrupted
    return sum(done) / (time.perf_counter() - began)


class Interrupted(Exception):
    """A measurement gave way to a request."""

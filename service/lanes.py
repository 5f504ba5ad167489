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

Job: TypeAlias = "tuple[asyncio.Future[Sequence[Out]], Sequence[In]]"


class Lanes(Generic[In, Out]):
    """`count` threads. concurrent.futures would do, at twice the cost of a hop: a lock and a condition for every call."""

    def __init__(self, work: Callable[[Sequence[In]], Sequence[Out]], count: int, name: str) -> None:
        """`work` runs on the threads, several calls at once."""
        self._work = work
        self._jobs: SimpleQueue[Job[Out, In] | None] = SimpleQueue()
        self.count = count
        for number in range(count):
            # A daemon: a call that hangs in native code must not keep the process from ending.
            threading.Thread(target=self._serve, name=f"{name}-lane-{number}", daemon=True).start()

    def run(self, batch: Sequence[In]) -> "asyncio.Future[Sequence[Out]]":
        """Hand a batch to the next free lane. The future belongs to the running loop and raises what `work` raised."""
        future: asyncio.Future[Sequence[Out]] = asyncio.get_running_loop().create_future()
        self._jobs.put((future, batch))
        return future

    def close(self) -> None:
        """End each thread once it has done what was handed over before. Does not wait."""
        for _ in range(self.count):
            self._jobs.put(None)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, batch = job
            if future.cancelled():
                continue
            results: Sequence[Out] = ()
            error: Exception | None = None
            try:
                results = self._work(batch)
            except BaseException as exc:  # noqa: BLE001  # it is the callers', who await it; the lane lives on
                carried = isinstance(exc, Exception) and not isinstance(exc, StopIteration)  # what a future can carry
                error = exc if carried else BackendFailed(f"The backend failed: {type(exc).__name__}.")  # type: ignore[assignment]
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, results, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            del job, future, batch, results, error  # an idle lane holds no image


def throughput(
    work: Callable[[Sequence[In]], Sequence[Out]], batch: Sequence[In], lanes: int, seconds: float, stop: threading.Event
) -> float:
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


def _settle(future: "asyncio.Future[Sequence[Out]]", results: Sequence[Out], error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(results)

"""Gathers callers into batches, and keeps three promises.

1. every accepted caller is answered: with a result, with the error of its batch, or with the reason why it was dropped;
2. a cancelled caller harms nobody: it leaves its batch before inference, or its result is thrown away;
3. an error ends one batch, never the batcher.

There is no collector task that could die. A batch starts in the very call that makes it possible: when a caller arrives and
a place is free, or when a batch ends and callers wait. So an idle service adds no wait, and under load a batch is what
arrived while the places were busy.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, TypeAlias, TypeVar

from service.errors import BackendFailed, Closing, DeadlineExceeded

log = logging.getLogger("parallax.batching")

In = TypeVar("In")
Out = TypeVar("Out")

Release: TypeAlias = Literal["idle", "busy", "full", "timer"]
"""Why a batch started: a place was idle, a place became free, it was full, or `max_wait` ran out."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Out]):
    """A result with the seconds that its caller waited and that its batch took."""

    value: Out
    waited: float
    ran: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What is told of every batch when it ends."""

    size: int
    release: Release
    longest_wait: float
    ran: float
    failed: bool


@dataclass(eq=False, slots=True)
class _Caller(Generic[In, Out]):
    item: In
    arrived: float
    deadline: float | None
    answer: "asyncio.Future[Answer[Out]]"
    expiry: asyncio.TimerHandle | None = None


class Batcher(Generic[In, Out]):
    """Runs `infer` on batches of what callers submit, `max_in_flight` batches at a time.

    `infer` gets 1 to `max_batch_size` items and returns as many results, in their order. All methods belong to one event loop.
    """

    def __init__(
        self,
        infer: Callable[[Sequence[In]], Awaitable[Sequence[Out]]],
        *,
        max_batch_size: int,
        max_in_flight: int,
        max_wait: float = 0.0,
        on_batch: Callable[[Batch], None] = lambda _batch: None,
    ) -> None:
        """`max_wait`: seconds that a batch which is not full may wait for more callers; 0 starts it at once."""
        self._infer = infer
        self._max_batch_size = max_batch_size
        self._max_in_flight = max_in_flight
        self._max_wait = max_wait
        self._on_batch = on_batch
        self._waiting: OrderedDict[_Caller[In, Out], None] = OrderedDict()
        """First come first; whoever leaves is taken out at once, with the image that it held."""
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._seconds_per_item = 0.0

    @property
    def waiting(self) -> int:
        """Callers that no batch has taken yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Batches under way."""
        return len(self._running)

    @property
    def seconds_per_item(self) -> float:
        """How often an item leaves when every place is busy: a moving average, 0 before the first batch."""
        return self._seconds_per_item

    async def submit(self, item: In, deadline: float | None = None) -> Answer[Out]:
        """Wait for the item's result. `deadline`: loop time at which the item is dropped unless its batch has started.

        Raises `Closing`, `DeadlineExceeded`, `BackendFailed`, or what `infer` raised.
        """
        if self._closing:
            raise Closing("The service is stopping; send the request again, to another replica if there is one.")
        loop = asyncio.get_running_loop()
        caller: _Caller[In, Out] = _Caller(item, time.perf_counter(), deadline, loop.create_future())
        if deadline is not None:
            caller.expiry = loop.call_at(deadline, self._expire, caller)
        self._waiting[caller] = None
        self._start_batches("idle")
        try:
            return await caller.answer
        finally:
            self._waiting.pop(caller, None)
            if caller.expiry is not None:
                caller.expiry.cancel()

    async def close(self) -> None:
        """Accept no more callers, and return when all are answered."""
        self._closing = True
        self._start_batches("busy")
        while self._running:
            await asyncio.wait(self._running)

    def abandon(self) -> None:
        """Accept no more callers, and answer all at once with `Closing`: those who wait, and those whose batch is under way."""
        self._closing = True
        while self._waiting:
            caller, _ = self._waiting.popitem(last=False)
            self._refuse(caller, Closing("The backend was closed before this image was classified."))
        for batch in self._running:
            batch.cancel()

    def _start_batches(self, release: Release) -> None:
        while self._waiting and len(self._running) < self._max_in_flight:
            full = len(self._waiting) >= self._max_batch_size
            if self._max_wait and not full and release != "timer" and not self._closing:
                self._set_timer()
                return
            callers = self._take()
            if callers:
                reason: Release = "full" if full and self._max_batch_size > 1 else release
                task = asyncio.get_running_loop().create_task(self._run(callers, reason))
                self._running.add(task)
                task.add_done_callback(partial(self._ended, callers))

    def _set_timer(self) -> None:
        if self._timer is None:
            left = next(iter(self._waiting)).arrived + self._max_wait - time.perf_counter()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left), self._timer_ran_out)

    def _timer_ran_out(self) -> None:
        self._timer = None
        self._start_batches("timer")

    def _take(self) -> list[_Caller[In, Out]]:
        """Form a batch of those who still wait for it."""
        now = asyncio.get_running_loop().time()
        callers: list[_Caller[In, Out]] = []
        while self._waiting and len(callers) < self._max_batch_size:
            caller, _ = self._waiting.popitem(last=False)
            if caller.deadline is not None and caller.deadline <= now:
                self._expire(caller)  # the loop was too busy for the timer itself
            if caller.expiry is not None:
                caller.expiry.cancel()
            if not caller.answer.done():  # neither cancelled nor expired
                callers.append(caller)
        return callers

    def _expire(self, caller: _Caller[In, Out]) -> None:
        self._waiting.pop(caller, None)
        self._refuse(caller, DeadlineExceeded("The deadline passed while the image waited for its turn."))

    async def _run(self, callers: list[_Caller[In, Out]], release: Release) -> None:
        started = time.perf_counter()  # uvloop's own clock counts whole milliseconds
        failed = True
        try:
            results = await self._infer([caller.item for caller in callers])
            if len(results) != len(callers):
                raise BackendFailed(f"The backend returned {len(results)} results for {len(callers)} images.")
            ran = time.perf_counter() - started
            for caller, result in zip(callers, results, strict=True):
                if not caller.answer.done():
                    caller.answer.set_result(Answer(result, started - caller.arrived, ran))
            failed = False
        except Exception as exc:  # noqa: BLE001  # it is the callers', who await it
            for caller in callers:
                self._refuse(caller, exc)
        finally:
            ran = time.perf_counter() - started
            self._note(len(callers), ran)
            self._tell(Batch(len(callers), release, started - callers[0].arrived, ran, failed))

    def _tell(self, batch: Batch) -> None:
        try:
            self._on_batch(batch)
        except Exception:
            log.exception("a listener failed")  # it must not end what it only listens to

    def _ended(self, callers: list[_Caller[In, Out]], task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        # Nobody is left unless the batch was cancelled, even before its first step, or raised what no future can carry.
        for caller in callers:
            if isinstance(error, Exception):
                self._refuse(caller, BackendFailed(f"The backend failed: {error}"))
            else:
                self._refuse(caller, Closing("The backend was stopped while it classified this image."))
        self._start_batches("busy")

    def _note(self, size: int, ran: float) -> None:
        sample = ran / size / self._max_in_flight
        self._seconds_per_item = sample if not self._seconds_per_item else 0.9 * self._seconds_per_item + 0.1 * sample

    @staticmethod
    def _refuse(caller: _Caller[In, Out], reason: Exception) -> None:
        if not caller.answer.done():
            caller.answer.set_exception(reason)

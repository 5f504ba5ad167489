"""Gathers callers into batches, and keeps three promises.

1. every accepted caller is answered: with a result, with the error of its batch, or with the reason why it was dropped;
2. a cancelled caller harms nobody: it leaves its batch before inference, or its result is thrown away;
3. an error ends one batch, never the batcher.

There is no collector task that could die. A batch starts in the very call that makes it possible: when a caller arrives and a
place is free, or when a batch ends and callers wait. An idle service adds no wait; under load a batch is what arrived meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Generic, TypeVar

from service.alarms import Earliest
from service.callers import Caller, Together, settle
from service.domain import Batch, Release, Sizes
from service.errors import Closing, DeadlineExceeded
from service.fairness import FairQueue

log = logging.getLogger("parallax.batching")

BACKGROUND_S = 0.1
"""How long a batch of background work may take, by what those before it took: who comes in a hurry finds it there."""

In = TypeVar("In")
Out = TypeVar("Out")


class Batcher(Generic[In, Out]):
    """Runs `infer` on batches of what callers submit, of the sizes that are given.

    `infer` gets one item or more and returns as many results, in their order; a result that is an exception is
    raised for its own caller only. All methods belong to one event loop.
    """

    def __init__(
        self,
        infer: Callable[[Sequence[In]], Awaitable[Sequence[Out | Exception]]],
        sizes: Sizes,
        *,
        max_wait: float = 0.0,
        on_batch: Callable[[Batch], None] = lambda _batch: None,
        in_context: bool = False,
    ) -> None:
        """`max_wait`: seconds that a batch may wait while not full. `in_context`: it runs in its first caller's contextvars."""
        self._infer = infer
        self._sizes = sizes
        self._max_wait = max_wait
        self._on_batch = on_batch
        self._in_context = in_context
        self._waiting: FairQueue[Caller[In, Out]] = FairQueue()
        """Whoever leaves is taken out at once, with the image that it held."""
        self._running: set[asyncio.Future[Sequence[Out | Exception]]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._expiry = Earliest(self._expire_all)
        self._closing = False
        self._seconds_per_item = 0.0

    @property
    def waiting(self) -> int:
        """Callers that no batch has taken yet."""
        return self._waiting.size

    @property
    def running(self) -> int:
        """Batches under way."""
        return len(self._running)

    @property
    def seconds_per_item(self) -> float:
        """How often an item leaves when every place is busy: a moving average, 0 before the first batch."""
        return self._seconds_per_item

    async def submit(self, item: In, deadline: float | None = None, *, caller: str = "", background: bool = False) -> Out:
        """Wait for the item's result. `deadline`: loop time at which the item is dropped unless its batch has started.

        `caller` and `background` decide whose turn it is. Raises `Closing`, `DeadlineExceeded`, `BackendFailed`, or what
        `infer` raised or returned for this item.
        """
        answer: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        who = Caller(item, answer, caller, background, time.perf_counter(), deadline, self._context())
        self._enter(who)
        try:
            return await answer
        finally:
            self._waiting.discard(who, caller, background=background)

    async def submit_all(
        self, items: Sequence[In], deadline: float | None = None, *, caller: str = "", background: bool = False
    ) -> list[Out | Exception]:
        """`submit` for one item or more at once: results in order, an item's error in its result's place. Raises `Closing`."""
        together, now = Together[Out](len(items)), time.perf_counter()
        callers = [
            Caller(item, answer, caller, background, now, deadline, self._context())
            for item, answer in zip(items, together.slots, strict=True)
        ]
        self._enter(*callers)
        try:
            await together.everyone
        finally:
            for who in callers:
                self._waiting.discard(who, caller, background=background)
        return together.outcomes

    @property
    def sizes(self) -> Sizes:
        """Of the batches that it forms now."""
        return self._sizes

    def resize(self, sizes: Sizes) -> None:
        """From now on form batches of other sizes, or run more or fewer of them; those under way are left alone."""
        self._sizes = sizes
        self._seconds_per_item = 0.0
        self._start_batches("busy")

    async def close(self) -> None:
        """Accept no more callers, and return when all are answered."""
        self._closing = True
        self._start_batches("busy")
        while self._running:
            await asyncio.wait(self._running)
        self._expiry.stop()

    def abandon(self) -> None:
        """Accept no more callers, and answer all at once with `Closing`: those who wait, and those whose batch is under way."""
        self._closing = True
        for caller in list(self._waiting):
            self._waiting.discard(caller, caller.name, background=caller.background)
            caller.refuse(Closing("The backend was closed before this image was classified."))
        for batch in self._running:
            batch.cancel()

    def _context(self) -> Context | None:
        return copy_context() if self._in_context else None

    def _enter(self, *callers: Caller[In, Out]) -> None:
        """Let them wait, and start what can be started."""
        if self._closing:
            raise Closing("The service is stopping; send the request again, to another replica if there is one.")
        for who in callers:
            if who.deadline is not None:
                self._expiry.at(who.deadline)
            self._waiting.push(who, who.name, background=who.background, now=who.arrived)
        self._start_batches("idle")

    def _start_batches(self, release: Release) -> None:
        while self._waiting.size and len(self._running) < self._waiting.places(self._sizes.in_flight, time.perf_counter()):
            full = self._waiting.size >= self._sizes.urgent
            if self._max_wait and not full and release != "timer" and not self._closing:
                self._set_timer()
                return
            callers = self._take()
            if callers:
                self._start(callers, "full" if full and self._sizes.urgent > 1 else release)

    def _start(self, callers: list[Caller[In, Out]], release: Release) -> None:
        try:
            work, context = self._infer([caller.item for caller in callers]), callers[0].context
            running = asyncio.ensure_future(work) if context is None else context.run(asyncio.ensure_future, work)
        except Exception as exc:  # noqa: BLE001  # it is the callers', who await it
            for caller in callers:
                caller.refuse(exc)
            return
        self._running.add(running)
        running.add_done_callback(partial(self._ended, callers, release, time.perf_counter()))

    def _set_timer(self) -> None:
        if self._timer is None:
            left = min(caller.arrived for caller in self._waiting) + self._max_wait - time.perf_counter()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left), self._timer_ran_out)

    def _timer_ran_out(self) -> None:
        self._timer = None
        self._start_batches("timer")

    def _take(self) -> list[Caller[In, Out]]:
        """Form a batch of those who still wait for it."""
        now = asyncio.get_running_loop().time()
        callers: list[Caller[In, Out]] = []
        turns = self._waiting.choose()
        most = self._sizes.urgent if turns is self._waiting.interactive else self._background_size()
        while turns.size and len(callers) < most:
            caller = turns.pop()
            if caller.deadline is not None and caller.deadline <= now:
                self._expire(caller)  # the loop was too busy for the timer itself
            if not caller.answer.done():  # neither cancelled nor expired
                callers.append(caller)
        return callers

    def _background_size(self) -> int:
        """Where nobody is in a hurry; of items that have turned out to be slow, fewer."""
        if self._waiting.interactive.size or self._waiting.expects(time.perf_counter()):
            return self._sizes.beside_urgent
        fit = BACKGROUND_S / (self._seconds_per_item * self._sizes.in_flight or 1e-9)
        return max(self._sizes.beside_urgent, int(min(self._sizes.background, fit)))

    def _expire_all(self) -> float | None:
        """Drop whoever's deadline has passed. Returns the next deadline."""
        now = asyncio.get_running_loop().time()
        deadlines = {caller: caller.deadline for caller in self._waiting if caller.deadline is not None}
        for caller in [caller for caller, deadline in deadlines.items() if deadline <= now]:
            self._expire(caller)
            del deadlines[caller]
        return min(deadlines.values(), default=None)

    def _expire(self, caller: Caller[In, Out]) -> None:
        self._waiting.discard(caller, caller.name, background=caller.background)
        caller.refuse(DeadlineExceeded("The deadline passed while the image waited for its turn."))

    def _ended(
        self,
        callers: list[Caller[In, Out]],
        release: Release,
        started: float,
        running: "asyncio.Future[Sequence[Out | Exception]]",
    ) -> None:
        self._running.discard(running)
        ran = time.perf_counter() - started
        failed = settle(callers, running)
        self._note(len(callers), ran)
        self._tell(Batch(len(callers), release, started - callers[0].arrived, ran, failed))
        self._start_batches("busy")

    def _tell(self, batch: Batch) -> None:
        try:
            self._on_batch(batch)
        except Exception:
            log.exception("a listener failed")  # it must not end what it only listens to

    def _note(self, size: int, ran: float) -> None:
        sample = ran / size / self._sizes.in_flight
        self._seconds_per_item = sample if not self._seconds_per_item else 0.9 * self._seconds_per_item + 0.1 * sample

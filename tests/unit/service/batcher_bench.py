"""A batcher on an event loop that stands still, with an `infer` that the test ends: nothing sleeps or looks at a real clock."""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias
from unittest import mock

from service import batching
from service.batching import Batcher
from service.domain import Batch, Sizes


class Stop(BaseException):
    """What only an interpreter that goes down would raise."""


class StillLoop(asyncio.SelectorEventLoop):
    """Its clock moves, and its callbacks run, in `turn` alone."""

    _ready: "deque[asyncio.Handle]"  # asyncio's own: what it will run next

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.complaints: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.complaints.append(context))

    def time(self) -> float:
        return self.now

    def turn(self, seconds: float = 0.0) -> None:
        """Let the clock jump ahead, then run whatever can run."""
        self.now += seconds

        async def everything() -> None:
            quiet = 0
            while quiet < 3:  # between one turn without work and the next, timers that are due get ready
                await asyncio.sleep(0)
                quiet = 0 if self._ready else quiet + 1

        self.run_until_complete(everything())

    def step(self) -> None:
        """Run what is ready now, and nothing that this makes ready."""
        self.call_soon(self.stop)
        self.run_forever()

    def end(self) -> list[dict[str, Any]]:
        """Close it. Returns what it complained of, such as exceptions that nobody ever looked at."""
        self.turn()
        gc.collect()
        self.turn()
        self.close()
        return self.complaints


@dataclass(eq=False)
class Running:
    """A call of `infer` that the test ends when it likes."""

    items: Sequence[int]
    end: "asyncio.Future[Sequence[str]]"

    def succeed(self) -> None:
        self.end.set_result([f"result {item}" for item in self.items])


@dataclass(eq=False)
class Caller:
    """A caller as the test sees it: `expected` is what became of it by the rules, None while it is open."""

    item: int
    deadline: float | None
    task: "asyncio.Task[list[str | Exception]]"
    arrived: float
    together: list["Caller"] = field(default_factory=list)
    """All that one task waits for, this one among them."""
    taken: bool = False
    expected: "str | type[BaseException] | BaseException | None" = None

    @property
    def pending(self) -> bool:
        return not self.taken and self.expected is None

    @property
    def found(self) -> "str | BaseException | None":
        if not self.task.done():
            return None
        if self.task.cancelled():
            return asyncio.CancelledError()
        error = self.task.exception()
        return error or self.task.result()[self.together.index(self)]

    @property
    def due(self) -> "str | type[BaseException] | BaseException | None":
        """What must be found now: of those who wait together nobody knows anything before all have their answer."""
        return self.expected if all(one.expected is not None for one in self.together) else None

    def cancel(self) -> None:
        """End the wait, and with it that of all who wait together."""
        self.task.cancel()
        for one in self.together:
            one.expected = asyncio.CancelledError


Submit: TypeAlias = Callable[[Sequence[int], float | None], Coroutine[Any, Any, list[str | Exception]]]


class Bench:
    """A batcher on a loop that stands still, with an `infer` that the test ends."""

    def __init__(
        self, *, size: int = 2, places: int = 1, max_wait: float = 0.0, on_batch: Callable[[Batch], None] | None = None
    ) -> None:
        self.loop = StillLoop()
        self.size, self.places, self.max_wait = size, places, max_wait
        self.running: list[Running] = []
        self.seen: list[int] = []
        self.ended: list[tuple[int, bool]] = []
        self.told: list[Batch] = []
        self.callers: list[Caller] = []
        self._clock = mock.patch.object(batching, "time", SimpleNamespace(perf_counter=self.loop.time))
        self._clock.start()
        self.batcher: Batcher[int, str] = Batcher(
            self._infer, Sizes.alike(size, places), max_wait=max_wait, on_batch=on_batch or self.told.append
        )

    def submit(self, deadline: float | None = None, *, turn: bool = True) -> Caller:
        """A new caller; `deadline` in seconds from now."""
        (caller,) = self._came(1, deadline, self._alone)
        if turn:
            self.loop.turn()
        return caller

    def submit_all(self, count: int, deadline: float | None = None) -> list[Caller]:
        """New callers for whom one task waits."""
        callers = self._came(count, deadline, self.batcher.submit_all)
        self.loop.turn()
        return callers

    def close_batcher(self) -> "asyncio.Task[None]":
        task = self.loop.create_task(self.batcher.close())
        self.loop.turn()
        return task

    def end(self) -> None:
        """Nobody may be left behind, and nothing may have been said behind the test's back."""
        for running in self.running:
            running.succeed()
        self.loop.turn()
        for caller in self.callers:
            caller.task.cancel()
        self.loop.turn()
        self._clock.stop()
        assert self.loop.end() == []

    async def _alone(self, items: Sequence[int], deadline: float | None) -> list[str | Exception]:
        (item,) = items
        return [await self.batcher.submit(item, deadline)]

    def _came(self, count: int, deadline: float | None, submit: Submit) -> list[Caller]:
        limit = None if deadline is None else self.loop.now + deadline
        numbers = range(len(self.callers), len(self.callers) + count)
        task = self.loop.create_task(submit(numbers, limit))
        together: list[Caller] = []
        together += [Caller(number, limit, task, self.loop.now, together) for number in numbers]
        self.callers += together
        return together

    def _infer(self, items: Sequence[int]) -> "asyncio.Future[Sequence[str]]":
        running = Running(items, self.loop.create_future())
        self.running.append(running)
        self.seen += items
        running.end.add_done_callback(lambda _end: self._note(running))
        return running.end

    def _note(self, running: Running) -> None:
        self.running.remove(running)
        end = running.end
        results = None if end.cancelled() or end.exception() else end.result()
        self.ended.append((len(running.items), results is None or len(results) != len(running.items)))

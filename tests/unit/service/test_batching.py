"""The three promises of the batcher, first under random schedules, then one by one.

The event loop stands still unless told to: nothing here sleeps or looks at a real clock.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from service import batching
from service.batching import Answer, Batch, Batcher
from service.errors import BackendFailed, Closing, DeadlineExceeded


class Stop(BaseException):
    """What only an interpreter that goes down would raise."""


class StillLoop(asyncio.SelectorEventLoop):
    """Its clock moves, and its callbacks run, in `turn` alone."""

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
            for _ in range(30):  # far more than the steps from an infer's end to its callers and the next batch's start
                await asyncio.sleep(0)

        self.run_until_complete(everything())

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
    task: "asyncio.Task[Answer[str]]"
    arrived: float
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
        return error or self.task.result().value


Ending: TypeAlias = Literal["succeeds", "raises", "raises a BaseException", "is cancelled", "too few", "too many", "nothing"]
ENDINGS: tuple[Ending, ...] = ("succeeds", "raises", "raises a BaseException", "is cancelled", "too few", "too many", "nothing")


class Bench:
    """A batcher on a loop that stands still, with an `infer` that the test ends."""

    def __init__(self, *, size: int = 2, places: int = 1, max_wait: float = 0.0, on_batch: Callable[[Batch], None] | None = None) -> None:
        self.loop = StillLoop()
        self.size, self.places, self.max_wait = size, places, max_wait
        self.running: list[Running] = []
        self.seen: list[int] = []
        self.told: list[Batch] = []
        self.callers: list[Caller] = []
        self._clock = mock.patch.object(batching, "time", SimpleNamespace(perf_counter=self.loop.time))
        self._clock.start()
        self.batcher: Batcher[int, str] = Batcher(
            self._infer, max_batch_size=size, max_in_flight=places, max_wait=max_wait, on_batch=on_batch or self.told.append
        )

    def submit(self, deadline: float | None = None) -> Caller:
        """A new caller; `deadline` in seconds from now."""
        limit = None if deadline is None else self.loop.now + deadline
        number = len(self.callers)
        caller = Caller(number, limit, self.loop.create_task(self.batcher.submit(number, limit)), self.loop.now)
        self.callers.append(caller)
        self.loop.turn()
        return caller

    def close_batcher(self, *, drain: bool = True) -> "asyncio.Task[None]":
        task = self.loop.create_task(self.batcher.close(drain=drain))
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

    async def _infer(self, items: Sequence[int]) -> Sequence[str]:
        running = Running(items, self.loop.create_future())
        self.running.append(running)
        self.seen += items
        try:
            return await running.end
        finally:
            self.running.remove(running)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """One place for batches of two."""
    made = Bench()
    yield made
    made.end()


class Schedules(RuleBasedStateMachine):
    """Random schedules of all that can happen to a batcher, against a model of what must become of every caller."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.closers: list[asyncio.Task[None]] = []
        self.ended: list[tuple[int, bool]] = []

    @initialize(
        size=st.integers(1, 4), places=st.integers(1, 3), max_wait=st.sampled_from([0.0, 0.0, 4.0]), broken_listener=st.booleans()
    )
    def start(self, size: int, places: int, max_wait: float, broken_listener: bool) -> None:
        def listen(batch: Batch) -> None:
            bench.told.append(batch)
            if broken_listener:
                raise RuntimeError("the listener is broken")

        bench = self.bench = Bench(size=size, places=places, max_wait=max_wait, on_batch=listen)
        self.loop = bench.loop

    @rule(deadline=st.none() | st.integers(0, 8), count=st.integers(1, 3))
    def submit(self, deadline: int | None, count: int) -> None:
        for _ in range(count):
            caller = self.bench.submit(deadline)
            if self.closing:
                caller.expected = Closing
            elif deadline == 0:
                caller.expected = DeadlineExceeded
            self._settle()

    @rule(data=st.data())
    @precondition(lambda self: any(not caller.task.done() for caller in self.bench.callers))
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from([caller for caller in self.bench.callers if not caller.task.done()]))
        caller.task.cancel()
        caller.expected = asyncio.CancelledError
        self._settle()

    @rule(data=st.data(), how=st.sampled_from(ENDINGS), leaves=st.booleans())
    @precondition(lambda self: self.bench.running)
    def end_batch(self, data: st.DataObject, how: Ending, leaves: bool) -> None:
        running = data.draw(st.sampled_from(self.bench.running))
        callers = [self.bench.callers[item] for item in running.items]
        if leaves:  # in the very moment in which the batch ends
            callers[0].task.cancel()
            callers[0].expected = callers[0].expected or asyncio.CancelledError
        error = ValueError("this batch's own")
        match how:
            case "succeeds":
                running.succeed()
            case "raises":
                running.end.set_exception(error)
            case "raises a BaseException":
                running.end.set_exception(Stop())
            case "is cancelled":
                running.end.cancel()
            case "too few":
                running.end.set_result(["result"] * (len(callers) - 1))
            case "too many":
                running.end.set_result(["result"] * (len(callers) + 1))
            case "nothing":
                running.end.set_result(None)  # type: ignore[arg-type]  # that is the fault
        for caller in callers:
            outcomes: dict[Ending, str | type[BaseException] | BaseException] = {
                "succeeds": f"result {caller.item}",
                "raises": error,
                "raises a BaseException": Closing,
                "is cancelled": Closing,
                "too few": BackendFailed,
                "too many": BackendFailed,
                "nothing": TypeError,
            }
            caller.expected = caller.expected or outcomes[how]
        self.ended.append((len(callers), how != "succeeds"))
        self._settle()

    @rule(seconds=st.integers(1, 6))
    def let_time_pass(self, seconds: int) -> None:
        self._settle(seconds)

    @rule(drain=st.booleans())
    def close_batcher(self, drain: bool) -> None:
        self.closing = True
        if not drain:
            for caller in self.bench.callers:
                if caller.pending:
                    caller.expected = Closing
        self.closers.append(self.bench.close_batcher(drain=drain))
        self._settle()

    def _settle(self, seconds: float = 0.0) -> None:
        """Let everything run that can, then bring the model up to what `infer` has seen and to the time."""
        self.loop.turn(seconds)
        for caller in (self.bench.callers[item] for item in self.bench.seen):
            if not caller.taken:
                assert caller.expected is None, "who left before the batch was formed is not in it"
                assert caller.deadline is None or caller.deadline > self.loop.now
                caller.taken = True
        for caller in self.bench.callers:
            if caller.pending and caller.deadline is not None and caller.deadline <= self.loop.now:
                caller.expected = DeadlineExceeded

    @invariant()
    def everyone_has_the_answer_that_is_theirs_and_nobody_has_one_too_early(self) -> None:
        for caller in self.bench.callers:
            if isinstance(caller.expected, type):
                assert type(caller.found) is caller.expected, caller
            elif isinstance(caller.expected, BaseException):
                assert caller.found is caller.expected, caller
            else:
                assert caller.found == caller.expected, caller

    @invariant()
    def no_bound_is_passed(self) -> None:
        assert len(self.bench.running) <= self.bench.places
        assert all(1 <= len(running.items) <= self.bench.size for running in self.bench.running)
        assert self.bench.batcher.running == len(self.bench.running)

    @invariant()
    def items_are_taken_once_and_in_the_order_of_their_callers(self) -> None:
        assert self.bench.seen == sorted(set(self.bench.seen))

    @invariant()
    def no_place_stays_idle_while_someone_waits(self) -> None:
        waiting = [caller for caller in self.bench.callers if caller.pending]
        if waiting and len(self.bench.running) < self.bench.places:
            assert self.bench.max_wait, "without a timer nobody waits beside an idle place"
            assert not self.closing
            assert len(waiting) < self.bench.size
            assert self.loop.now < waiting[0].arrived + self.bench.max_wait

    @invariant()
    def every_batch_that_ended_was_told_of(self) -> None:
        assert [(batch.size, batch.failed) for batch in self.bench.told] == self.ended

    @invariant()
    def closing_ends_when_the_last_batch_does(self) -> None:
        for closer in self.closers:
            assert closer.done() == (not self.bench.running)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.close_batcher(drain=True)
            while self.bench.running:
                self.bench.running[0].succeed()
                self._settle()
            assert all(caller.task.done() for caller in self.bench.callers)
            assert all(closer.done() for closer in self.closers)
            self.closers.clear()
            self.bench.end()


def test_the_promises_hold_under_every_schedule() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Schedules,
        settings=settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_who_comes_to_an_idle_batcher_does_not_wait(bench: Bench) -> None:
    bench.submit()
    assert bench.seen == [0]


def test_who_comes_while_all_places_are_busy_goes_with_the_next_batch(bench: Bench) -> None:
    for _ in range(4):
        bench.submit()
    assert [running.items for running in bench.running] == [[0]]
    bench.running[0].succeed()
    bench.loop.turn()
    assert [running.items for running in bench.running] == [[1, 2]]
    assert bench.batcher.waiting == 1


def test_a_deadline_ends_the_wait_even_while_every_place_stays_busy(bench: Bench) -> None:
    bench.submit()
    late = bench.submit(deadline=5)
    bench.loop.turn(4)
    assert late.found is None
    bench.loop.turn(1)
    assert isinstance(late.found, DeadlineExceeded)
    assert bench.seen == [0]


def test_a_deadline_does_not_touch_a_batch_that_has_begun(bench: Bench) -> None:
    caller = bench.submit(deadline=5)
    bench.loop.turn(10)
    bench.running[0].succeed()
    bench.loop.turn()
    assert caller.found == "result 0"


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_who_left_no_longer_counts_as_waiting_and_frees_its_item(bench: Bench, how: str) -> None:
    """A lane that hangs must not let the images of callers who gave up pile up behind it."""
    bench.submit()
    for _ in range(10):
        caller = bench.submit(deadline=5)
        if how == "cancelled":
            caller.task.cancel()
    bench.loop.turn(5)
    assert bench.batcher.waiting == 0


def test_who_left_does_not_make_a_batch_full() -> None:
    bench = Bench(size=2, max_wait=10)
    bench.submit().task.cancel()
    bench.loop.turn()
    bench.submit()
    assert bench.seen == [], "one caller waits for a second one, or for the timer"
    bench.end()


def test_a_batch_tells_its_size_its_wait_and_why_it_started() -> None:
    bench = Bench(size=2, max_wait=10)
    bench.submit()
    bench.loop.turn(9)
    assert bench.seen == []
    bench.loop.turn(1)
    bench.loop.turn(3)
    bench.running[0].succeed()
    bench.loop.turn()
    bench.submit()
    bench.submit()
    bench.running[0].succeed()
    bench.loop.turn()
    assert bench.told == [Batch(1, "timer", 10.0, 3.0, failed=False), Batch(2, "full", 0.0, 0.0, failed=False)]
    bench.end()


def test_a_batch_without_a_timer_is_told_as_idle_then_busy(bench: Bench) -> None:
    bench.submit()
    bench.submit()
    bench.running[0].succeed()
    bench.loop.turn()
    bench.running[0].succeed()
    bench.loop.turn()
    assert [batch.release for batch in bench.told] == ["idle", "busy"]


def test_the_timer_runs_from_the_oldest_caller() -> None:
    bench = Bench(size=8, max_wait=10)
    for _ in range(3):
        bench.submit()
        bench.loop.turn(3)
    assert bench.seen == []
    bench.loop.turn(1)
    assert [running.items for running in bench.running] == [[0, 1, 2]]
    bench.end()


def test_an_answer_says_how_long_it_waited_and_ran(bench: Bench) -> None:
    bench.submit()
    second = bench.submit()
    bench.loop.turn(2)
    bench.running[0].succeed()
    bench.loop.turn()
    bench.loop.turn(3)
    bench.running[0].succeed()
    bench.loop.turn()
    assert second.task.result() == Answer("result 1", waited=2.0, ran=3.0)


def test_the_pace_counts_every_place_and_settles_slowly() -> None:
    bench = Bench(size=2, places=2)
    assert bench.batcher.seconds_per_item == 0
    for seconds in (4, 8):
        bench.submit()
        bench.loop.turn(seconds)
        bench.running[0].succeed()
        bench.loop.turn()
    assert bench.batcher.seconds_per_item == pytest.approx(0.9 * 4 / 2 + 0.1 * 8 / 2)
    bench.end()


def test_a_full_drain_answers_those_who_still_wait(bench: Bench) -> None:
    callers = [bench.submit() for _ in range(4)]
    closed = bench.close_batcher()
    while bench.running:
        assert not closed.done()
        bench.running[0].succeed()
        bench.loop.turn()
    assert closed.done()
    assert [caller.found for caller in callers] == [f"result {number}" for number in range(4)]


def test_without_a_drain_who_waits_is_told_at_once_and_who_runs_gets_a_result(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    closed = bench.close_batcher(drain=False)
    assert isinstance(second.found, Closing)
    assert not closed.done()
    bench.running[0].succeed()
    bench.loop.turn()
    assert closed.done()
    assert first.found == "result 0"


def test_a_closed_batcher_takes_nobody(bench: Bench) -> None:
    bench.close_batcher()
    assert isinstance(bench.submit().found, Closing)
    assert bench.seen == []


def test_closing_does_not_wait_for_the_timer() -> None:
    bench = Bench(size=8, max_wait=10)
    caller = bench.submit()
    bench.close_batcher()
    bench.running[0].succeed()
    bench.loop.turn()
    assert caller.found == "result 0"
    bench.end()


@pytest.mark.parametrize("error", [ValueError("no"), StopIteration(), asyncio.CancelledError(), Stop()], ids=lambda error: type(error).__name__)
def test_an_infer_that_raises_before_it_awaits_strands_nobody(error: BaseException) -> None:
    def infer(_items: Sequence[int]) -> "asyncio.Future[Sequence[str]]":
        raise error

    loop = StillLoop()
    batcher: Batcher[int, str] = Batcher(infer, max_batch_size=2, max_in_flight=1)
    tasks = [loop.create_task(batcher.submit(number)) for number in range(3)]
    loop.turn()
    answered = [task.done() for task in tasks]
    found = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    for task in tasks:
        task.cancel()
    assert loop.end() == []
    assert answered == [True] * 3
    assert all(found)
    assert batcher.running == 0

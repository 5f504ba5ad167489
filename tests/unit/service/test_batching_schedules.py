"""The three promises of the batcher under random schedules of all that can happen to it."""

import asyncio
from typing import Literal, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from service.domain import Batch
from service.errors import BackendFailed, Closing, DeadlineExceeded
from tests.unit.service.batcher_bench import Bench, Running, Stop

Ending: TypeAlias = Literal["succeeds", "raises", "raises a BaseException", "is cancelled", "too few", "too many", "nothing"]
ENDINGS: tuple[Ending, ...] = ("succeeds", "raises", "raises a BaseException", "is cancelled", "too few", "too many", "nothing")


class Schedules(RuleBasedStateMachine):
    """Random schedules of all that can happen to a batcher, against a model of what must become of every caller."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.closers: list[asyncio.Task[None]] = []

    @initialize(
        size=st.integers(1, 4),
        places=st.integers(1, 3),
        max_wait=st.sampled_from([0.0, 4.0]),
        broken_listener=st.booleans(),
        lifetime=st.integers(0, 40),
    )
    def start(self, size: int, places: int, max_wait: float, broken_listener: bool, lifetime: int) -> None:
        """`lifetime`: callers after whom the batcher may be closed, so that it isn't almost always closed at once."""
        self.lifetime = lifetime

        def listen(batch: Batch) -> None:
            bench.told.append(batch)
            if broken_listener:
                raise RuntimeError("the listener is broken")

        bench = self.bench = Bench(size=size, places=places, max_wait=max_wait, on_batch=listen)
        self.loop = bench.loop

    @rule(deadline=st.none() | st.integers(0, 8), count=st.integers(1, 3), together=st.booleans())
    def submit(self, deadline: int | None, count: int, together: bool) -> None:
        for _ in range(1 if together else count):
            callers = self.bench.submit_all(count, deadline) if together else [self.bench.submit(deadline)]
            for caller in callers:
                if self.closing:
                    caller.expected = Closing
                elif deadline == 0:
                    caller.expected = DeadlineExceeded
            self._settle()

    @rule(data=st.data())
    @precondition(lambda self: any(not caller.task.done() for caller in self.bench.callers))
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from([caller for caller in self.bench.callers if not caller.task.done()]))
        caller.cancel()
        self._settle()

    @rule(data=st.data(), how=st.sampled_from(ENDINGS), leaves=st.booleans())
    @precondition(lambda self: self.bench.running)
    def end_batch(self, data: st.DataObject, how: Ending, leaves: bool) -> None:
        running = data.draw(st.sampled_from(self.bench.running))
        callers = [self.bench.callers[item] for item in running.items]
        if leaves and not callers[0].task.done():  # in the very moment in which the batch ends
            callers[0].cancel()
        waiting = [caller for caller in self.bench.callers if caller.pending]
        if leaves and waiting:
            waiting[0].cancel()
        outcome = self._end(running, how)
        for caller in callers:
            caller.expected = caller.expected or outcome or f"result {caller.item}"
        self._settle()

    @staticmethod
    def _end(running: Running, how: Ending) -> type[BaseException] | BaseException | None:
        """End a batch, and tell what its callers must get instead of a result."""
        error = ValueError("this batch's own")
        match how:
            case "succeeds":
                running.succeed()
                return None
            case "raises":
                running.end.set_exception(error)
                return error
            case "raises a BaseException":
                running.end.set_exception(Stop())
                return Closing
            case "is cancelled":
                running.end.cancel()
                return Closing
            case "nothing":
                running.end.set_result(None)  # type: ignore[arg-type]  # that is the fault
                return BackendFailed
            case "too few" | "too many":
                running.end.set_result(["result"] * (len(running.items) + (1 if how == "too many" else -1)))
                return BackendFailed

    @rule(seconds=st.integers(1, 6))
    def let_time_pass(self, seconds: int) -> None:
        self._settle(seconds)

    @rule()
    @precondition(lambda self: len(self.bench.callers) >= self.lifetime)
    def close_batcher(self) -> None:
        self.closing = True
        self.closers.append(self.bench.close_batcher())
        self._settle()

    @rule(newcomer=st.booleans())
    @precondition(lambda self: len(self.bench.callers) >= self.lifetime)
    def abandon(self, newcomer: bool) -> None:
        if newcomer:  # in the very moment in which its batch is about to start
            self.bench.submit(turn=False)
            self.loop.step()
        self.closing = True
        self.bench.batcher.abandon()
        for caller in self.bench.callers:
            caller.expected = caller.expected or Closing
        self.loop.turn()
        for caller in self.bench.callers:
            caller.taken = caller.taken or caller.item in self.bench.seen

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
            if isinstance(caller.due, type):
                assert type(caller.found) is caller.due, caller
            elif isinstance(caller.due, BaseException):
                assert caller.found is caller.due, caller
            else:
                assert caller.found == caller.due, caller

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
        assert [(batch.size, batch.failed) for batch in self.bench.told] == self.bench.ended

    @invariant()
    def closing_ends_when_the_last_batch_does(self) -> None:
        for closer in self.closers:
            assert closer.done() == (not self.bench.running)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.close_batcher()
            while self.bench.running:
                self.bench.running[0].succeed()
                self._settle()
            assert all(caller.task.done() for caller in self.bench.callers)
            assert all(closer.done() for closer in self.closers)
            self.closers.clear()
            self.bench.end()


def test_the_promises_hold_under_every_schedule() -> None:
    run_state_machine_as_test(
        Schedules,
        settings=settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )

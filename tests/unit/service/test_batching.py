"""The batcher, one promise and one figure at a time. Random schedules of them all: test_batching_schedules.py."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from service.batching import Batcher
from service.domain import Batch, Sizes
from service.errors import Closing, DeadlineExceeded
from tests.unit.service.batcher_bench import Bench, StillLoop, Stop


@pytest.fixture
def bench() -> Iterator[Bench]:
    """One place for batches of two."""
    made = Bench()
    yield made
    made.end()


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
    assert not late.task.done()
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


def test_the_timer_runs_from_the_oldest_caller_of_those_who_came_while_it_was_busy() -> None:
    bench = Bench(size=8, max_wait=10)
    bench.submit()
    bench.loop.turn(10)
    bench.submit()
    bench.loop.turn(4)
    bench.submit()
    bench.running[0].succeed()
    bench.loop.turn(5)
    assert bench.seen == [0]
    bench.loop.turn(1)
    assert [running.items for running in bench.running] == [[1, 2]]
    bench.end()


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


def test_an_abandoned_batcher_answers_everyone_at_once(bench: Bench) -> None:
    callers = [bench.submit() for _ in range(3)]
    bench.batcher.abandon()
    bench.loop.turn()
    assert [type(caller.found) for caller in callers] == [Closing] * 3
    assert bench.running == []
    assert isinstance(bench.submit().found, Closing)


@pytest.mark.parametrize("steps", range(8))
def test_nobody_is_stranded_by_abandoning_just_when_one_batch_ends_and_the_next_starts(bench: Bench, steps: int) -> None:
    callers = [bench.submit() for _ in range(4)]
    bench.running[0].succeed()
    for _ in range(steps):
        bench.loop.step()
    bench.batcher.abandon()
    bench.loop.turn()
    assert callers[0].found == "result 0" or isinstance(callers[0].found, Closing)
    assert [type(caller.found) for caller in callers[1:]] == [Closing] * 3
    assert bench.batcher.running == 0


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


@pytest.mark.parametrize(
    "error", [ValueError("no"), StopIteration(), asyncio.CancelledError(), Stop()], ids=lambda error: type(error).__name__
)
def test_an_infer_that_raises_before_it_awaits_strands_nobody(error: BaseException) -> None:
    def infer(_items: Sequence[int]) -> "asyncio.Future[Sequence[str]]":
        raise error

    loop = StillLoop()
    batcher: Batcher[int, str] = Batcher(infer, Sizes.alike(2, 1))
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


def telling_sizes(loop: StillLoop, sizes: Sizes) -> tuple[Batcher[int, int], list[int]]:
    """A batcher whose items come back as they are, and how many went together."""
    seen: list[int] = []

    def infer(items: Sequence[int]) -> "asyncio.Future[Sequence[int]]":
        seen.append(len(items))
        done: asyncio.Future[Sequence[int]] = loop.create_future()
        loop.call_soon(done.set_result, items)
        return done

    return Batcher(infer, sizes), seen


def test_background_work_goes_in_small_batches_while_urgent_work_is_expected() -> None:
    loop = StillLoop()
    batcher, sizes = telling_sizes(loop, Sizes(urgent=8, in_flight=1, background=16, beside_urgent=2))

    def run_all(*tasks: "asyncio.Task[int] | asyncio.Task[list[int | Exception]]") -> None:
        loop.turn()
        assert all(task.done() for task in tasks)

    run_all(loop.create_task(batcher.submit_all(range(16), background=True)))
    assert sizes == [16], "nobody else was ever there"
    run_all(loop.create_task(batcher.submit(0)))
    run_all(loop.create_task(batcher.submit_all(range(4), background=True)))
    run_all(loop.create_task(batcher.submit_all(range(8))))
    assert sizes == [16, 1, 2, 2, 8], "urgent work has whole batches"
    assert loop.end() == []


@pytest.mark.parametrize(("seconds", "size"), [(0.001, 16), (0.01, 10), (0.03, 3), (0.09, 2)])
def test_background_work_that_turns_out_to_be_slow_goes_in_smaller_batches(seconds: float, size: int) -> None:
    loop = StillLoop()
    batcher, sizes = telling_sizes(loop, Sizes(urgent=8, in_flight=2, background=16, beside_urgent=2))
    batcher._seconds_per_item = seconds / 2
    task = loop.create_task(batcher.submit_all(range(16), background=True))
    loop.turn()
    assert task.done()
    assert sizes[0] == size
    assert loop.end() == []

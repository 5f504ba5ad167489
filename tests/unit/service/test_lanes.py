"""Threads that run batches."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest

from service.errors import BackendFailed
from service.lanes import Crowd, Interrupted, Lanes, throughput
from tests.unit.service.stand_ins import PATIENCE_S, soon, until


class Work:
    """Doubles numbers, on as many threads as come, once it may."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.seen: list[Sequence[int]] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, batch: Sequence[int]) -> Sequence[int]:
        self.seen.append(batch)
        self.threads.append(threading.current_thread())
        assert self.go_on.wait(PATIENCE_S)
        return [2 * number for number in batch]


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.go_on.set()


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-lane-")]


async def test_results_come_back_to_who_asked_whichever_lane_did_the_work(work: Work) -> None:
    lanes = Lanes(work, 3, "several", Crowd())
    work.go_on.set()
    batches = [[number, number + 1] for number in range(50)]
    assert await soon(asyncio.gather(*map(lanes.run, batches))) == [[2 * number, 2 * number + 2] for number in range(50)]
    lanes.close()


async def test_a_batch_may_bring_its_own_work_and_the_crowd_knows_how_many_are_not_done_whosever(work: Work) -> None:
    crowd = Crowd()
    lanes, others = Lanes(work, 2, "own", crowd), Lanes(work, 1, "others", crowd)
    usual, own, cancelled = lanes.run([1]), lanes.run([1], lambda batch: [10 * number for number in batch]), lanes.run([3])
    elsewhere = others.run([4])
    cancelled.cancel()
    assert crowd.busy == 4
    assert await soon(own) == [10]
    work.go_on.set()
    assert [await soon(usual), await soon(elsewhere)] == [[2], [8]]
    await until(lambda: not crowd.busy, "nothing is left")
    assert [3] not in work.seen
    lanes.close()
    others.close()


async def test_so_many_batches_run_side_by_side_and_the_next_waits(work: Work) -> None:
    lanes = Lanes(work, 2, "two", Crowd())
    futures = [lanes.run([number]) for number in range(3)]
    await until(lambda: len(work.seen) == 2, "two batches are under way")
    assert len(set(work.threads)) == 2
    assert not any(future.done() for future in futures)
    work.go_on.set()
    assert await soon(asyncio.gather(*futures)) == [[0], [2], [4]]
    assert len(set(work.threads)) == 2
    lanes.close()


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        (ValueError("no"), ValueError),
        (StopIteration(), BackendFailed),
        (KeyboardInterrupt(), BackendFailed),
        (SystemExit(1), BackendFailed),
        (asyncio.CancelledError(), BackendFailed),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
async def test_whatever_is_raised_reaches_who_asked_and_the_lane_lives_on(raised: BaseException, found: type[Exception]) -> None:
    def work(batch: Sequence[int]) -> Sequence[int]:
        if batch[0]:
            raise raised
        return batch

    lanes = Lanes(work, 1, "failing", Crowd())
    for _ in range(2):
        with pytest.raises(found) as failed:
            await soon(lanes.run([1]))
        assert failed.value is raised if found is ValueError else type(raised).__name__ in str(failed.value)
        assert await soon(lanes.run([0])) == [0]
    lanes.close()


async def test_what_nobody_waits_for_any_more_is_not_begun(work: Work) -> None:
    lanes = Lanes(work, 1, "left", Crowd())
    first, second, third = (lanes.run([number]) for number in range(3))
    await until(lambda: work.seen, "the first is under way")
    second.cancel()
    first.cancel()
    work.go_on.set()
    assert await soon(third) == [4]
    assert work.seen == [[0], [2]]
    lanes.close()


async def test_closing_lets_finish_what_was_handed_over_and_then_the_threads_end(work: Work) -> None:
    lanes = Lanes(work, 2, "closing", Crowd())
    futures = [lanes.run([number]) for number in range(6)]
    threads = threads_of("closing")
    assert len(threads) == lanes.count == 2
    lanes.close()
    work.go_on.set()
    assert await soon(asyncio.gather(*futures)) == [[2 * number] for number in range(6)]
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE_S)
    assert threads_of("closing") == []


def test_a_loop_that_closed_meanwhile_ends_the_lane_quietly(work: Work) -> None:
    """A warning of a thread that died would fail this test: see filterwarnings."""
    lanes = Lanes(work, 1, "late", Crowd())
    (thread,) = threads_of("late")

    async def hand_over() -> None:
        lanes.run([1])
        await until(lambda: work.seen, "it is under way")

    asyncio.run(hand_over())
    work.go_on.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_lane_that_hangs_does_not_keep_the_process(work: Work) -> None:
    lanes = Lanes(work, 1, "hanging", Crowd())
    (thread,) = threads_of("hanging")
    lanes.close()
    assert thread.daemon


async def test_an_idle_lane_holds_neither_image_nor_result() -> None:
    class Image:
        pass

    lanes: Lanes[Image, Image] = Lanes(list, 1, "idle", Crowd())
    image = Image()
    held = weakref.ref(image)
    await soon(lanes.run([image]))
    del image
    gc.collect()
    await until(lambda: held() is None, "it is forgotten")
    lanes.close()


@pytest.mark.parametrize("lanes", [1, 4])
def test_throughput_counts_every_item_of_every_lane_and_does_at_least_a_batch_each(
    monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    seen: list[threading.Thread] = []

    def work(batch: Sequence[int]) -> Sequence[int]:
        seen.append(threading.current_thread())
        return batch

    # Two seconds pass with the tenth batch, though a lane may not have begun by then.
    monkeypatch.setattr("service.lanes.time", SimpleNamespace(perf_counter=lambda: 10.0 if len(seen) < 10 else 12.0))
    assert throughput(work, [0] * 3, lanes, 1.0, threading.Event()) == 3 * (len(seen) - 1) / 2
    assert seen[0] is threading.current_thread(), "one call to warm up, which does not count"
    assert len(set(seen[1:])) == lanes


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_measurement_is_interrupted_as_soon_as_the_batches_under_way_have_ended(work: Work, lanes: int) -> None:
    stop = threading.Event()

    def interrupt(batch: Sequence[int]) -> Sequence[int]:
        work.seen.append(batch)
        if len(work.seen) > 1:
            stop.set()
        return batch

    with pytest.raises(Interrupted):
        throughput(interrupt, [0], lanes, PATIENCE_S, stop)
    assert len(work.seen) <= 1 + 2 * lanes


def test_a_measurement_that_fails_says_so() -> None:
    def work(batch: Sequence[int]) -> Sequence[int]:
        raise ValueError("no kernel for this size")

    with pytest.raises(ValueError, match="no kernel"):
        throughput(work, [0], 2, 0.0, threading.Event())

"""Timeouts that share a timer."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alarms import Alarms, Earliest
from tests.unit.service.batcher_bench import StillLoop

BRIEF = settings(max_examples=40)  # every example has a loop of its own
MOVES = st.lists(st.tuples(st.sampled_from(["set", "set", "cancel", "wait", "wait"]), st.integers(0, 7)), max_size=60)


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    made = StillLoop()
    yield made
    assert made.end() == []


def run(loop: StillLoop, work: Callable[[], object]) -> None:
    """Do something within the loop."""
    loop.call_soon(work)
    loop.turn()


def timers(loop: StillLoop) -> int:
    """How many the loop will attend to."""
    scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined]  # asyncio's own
    return sum(not timer.cancelled() for timer in scheduled)


@BRIEF
@given(moves=MOVES)
def test_an_alarm_goes_off_when_its_time_is_over_unless_it_was_taken_back_and_only_once(moves: list[tuple[str, int]]) -> None:
    loop = StillLoop()
    alarms = Alarms(5)
    rung: list[int] = []
    callbacks: list[Callable[[], None]] = []
    due: dict[int, float] = {}
    expected: list[int] = []
    for move, choice in moves:
        if move == "set":
            number = len(callbacks)
            callbacks.append(partial(rung.append, number))
            due[number] = loop.now + 5
            run(loop, partial(alarms.set, callbacks[number]))
        elif move == "cancel" and callbacks:
            number = choice % len(callbacks)
            due.pop(number, None)
            alarms.cancel(callbacks[number])
        else:
            loop.turn(choice)
            over = [number for number, when in due.items() if when <= loop.now]
            expected += over
            for number in over:
                del due[number]
        assert rung == expected
    loop.close()
    assert loop.complaints == []


def test_however_many_alarms_are_set_the_loop_has_one_timer_at_most(loop: StillLoop) -> None:
    alarms = Alarms(5)

    def set_many() -> None:
        for number in range(100):
            alarms.set(partial(int, number))

    for _ in range(3):
        run(loop, set_many)
        loop.turn(1)
    assert timers(loop) == 1
    loop.turn(5)
    assert timers(loop) == 0


def test_an_alarm_may_set_the_next_one_and_take_others_back(loop: StillLoop) -> None:
    alarms = Alarms(5)
    rung: list[str] = []

    def second() -> None:
        rung.append("second")

    def first() -> None:
        rung.append("first")
        alarms.cancel(second)
        alarms.set(third)

    def third() -> None:
        rung.append("third")

    run(loop, partial(alarms.set, first))
    run(loop, partial(alarms.set, second))
    loop.turn(5)
    assert rung == ["first"]
    loop.turn(5)
    assert rung == ["first", "third"]


@BRIEF
@given(times=st.lists(st.integers(0, 30), max_size=20), steps=st.lists(st.integers(0, 9), max_size=20))
def test_it_is_called_at_every_time_that_is_the_earliest_when_it_comes(times: list[int], steps: list[int]) -> None:
    """As the batcher uses it: whoever is called deals with all that is due, and says what comes next."""
    loop = StillLoop()
    open_times: list[float] = []

    def deal() -> float | None:
        open_times[:] = [when for when in open_times if when > loop.now]
        return min(open_times, default=None)

    earliest = Earliest(deal)
    for step in steps:
        loop.turn(step)
        assert all(when > loop.now for when in open_times), "nothing is left undone"
        if times:
            when = loop.now + times.pop()
            open_times.append(when)
            run(loop, partial(earliest.at, when))
    loop.turn(31)
    assert open_times == []
    loop.close()
    assert loop.complaints == []


def test_a_later_time_does_not_move_the_timer_and_an_earlier_one_does(loop: StillLoop) -> None:
    called: list[float] = []

    def note() -> None:
        called.append(loop.now)

    earliest = Earliest(note)
    now = loop.now
    for seconds in (10, 20, 5):
        run(loop, partial(earliest.at, now + seconds))
        assert timers(loop) == 1
    loop.turn(5)
    assert called == [now + 5]
    loop.turn(30)
    assert called == [now + 5], "what comes next is for the callback to say"

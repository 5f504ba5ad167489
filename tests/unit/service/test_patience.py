"""Who is refused time and again is told later: on a clock that stands still unless it is moved."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api import patience as module
from service.api.patience import BURST, CALM_S, LONGEST_S, MOST, RATE, TICK_S, Pace, Patience
from tests.unit.service.batcher_bench import StillLoop

GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.004, 0.02, 0.3]), min_size=1, max_size=600)


@pytest.fixture
def loop() -> Iterator[StillLoop]:
    made = StillLoop()
    yield made
    assert made.end() == []


class Refusals:
    """Of one loop, and how many were told."""

    def __init__(self, loop: StillLoop) -> None:
        self.loop = loop
        self.patience = Patience()
        self.at_once = 0
        self.waiting: list[asyncio.Future[None]] = []

    def come(self, count: int, caller: str = "noisy") -> None:
        async def refuse() -> None:
            for _ in range(count):
                turn = self.patience.refused(caller)
                if turn is None:
                    self.at_once += 1
                else:
                    self.waiting.append(turn)

        self.loop.run_until_complete(refuse())

    @property
    def told(self) -> int:
        return self.at_once + sum(turn.done() for turn in self.waiting)


@given(gaps=GAPS)
def test_so_many_are_told_at_once_in_any_time_and_none_waits_longer_than_it_may(gaps: list[float]) -> None:
    pace, now = Pace(), 50.0
    at_once: list[float] = []
    for gap in gaps:
        now += gap
        seconds = pace.wait(now)
        assert 0 <= seconds <= LONGEST_S + 1e-9
        if not seconds:
            at_once.append(now)
    for first, start in enumerate(at_once):
        for count, end in enumerate(at_once[first:], 1):
            assert count <= 1 + BURST + RATE * (end - start) + 1e-6


@given(gaps=st.lists(st.floats(1 / RATE, 1), max_size=300))
def test_who_is_refused_no_oftener_than_that_never_waits(gaps: list[float]) -> None:
    pace, now = Pace(), 0.0
    for gap in gaps:
        now += gap
        assert pace.wait(now) < 1e-6


def test_who_comes_beyond_that_waits_until_it_is_due(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(BURST + 31)
    assert refusals.told == BURST + 1
    for ticks in range(1, 4):  # one more comes each time, so that it is not over; it is due after those before it
        loop.turn(TICK_S)
        refusals.come(1)
        assert refusals.told == pytest.approx(BURST + 1 + ticks * TICK_S * RATE, abs=1)


def test_none_waits_longer_than_it_may_while_more_come(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(900)
    first = list(refusals.waiting)
    assert len(first) == 900 - BURST - 1
    for _ in range(int(LONGEST_S / CALM_S * 2) - 1):
        loop.turn(CALM_S / 2)
        refusals.come(1)
    assert sum(turn.done() for turn in first) < len(first)
    loop.turn(CALM_S / 2)
    refusals.come(1)
    loop.turn(TICK_S)
    assert all(turn.done() for turn in first)


def test_once_no_more_come_nobody_waits_any_more(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(500)
    loop.turn(CALM_S - TICK_S)
    assert refusals.told < 500
    loop.turn(TICK_S)
    loop.turn(TICK_S)
    assert refusals.told == 500


def test_others_are_told_at_once(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(500)
    before = refusals.told
    refusals.come(50, "polite")
    assert refusals.told == before + 50
    loop.turn(LONGEST_S)


def test_no_more_wait_than_may(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    for number in range(MOST // 400):
        refusals.come(BURST + 1 + 400, f"caller {number}")
    refusals.come(BURST + 1 + 400, "another")
    assert len(refusals.waiting) == MOST
    loop.turn(LONGEST_S)
    assert refusals.told == refusals.at_once + MOST


def test_one_that_is_cancelled_harms_nobody(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(BURST + 10)
    refusals.waiting[0].cancel()
    loop.turn(LONGEST_S)
    assert refusals.told == BURST + 10


def test_callers_are_forgotten(loop: StillLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Pace] = []

    class Counted(Pace):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(module, "Pace", Counted)
    refusals = Refusals(loop)
    for number in range(50):
        refusals.come(1, f"caller {number}")
    refusals.come(1, "caller 0")
    assert len(made) == 50, "each is known"
    loop.turn(1.0)
    refusals.come(1, "somebody")
    refusals.come(1, "caller 7")
    assert len(made) == 52, "those of a while ago are not"

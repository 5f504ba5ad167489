"""Who is refused time and again is told later: on a clock that stands still unless it is moved."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api import tarpit as module
from service.api.tarpit import BURST, CALM_S, CALM_TURNS, CROWD_S, LONGEST_S, MOST, RATE, TICK_S, Pace, Tarpit
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
        self.tarpit = Tarpit()
        self.at_once = 0
        self.waiting: list[asyncio.Future[None]] = []

    def come(self, count: int, caller: str = "noisy") -> None:
        async def refuse() -> None:
            for _ in range(count):
                turn = self.tarpit.refused(caller)
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


def test_what_was_refused_is_forgotten_after_a_while() -> None:
    pace = Pace()
    for _ in range(5000):
        pace.wait(10.0)
    assert pace.wait(10.0) > LONGEST_S / 2
    assert pace.wait(10.1 + LONGEST_S + BURST / RATE) == 0


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


def test_once_no_more_come_all_are_told_but_not_together(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(BURST + 1 + 3 * CALM_TURNS)
    loop.turn(CALM_S - TICK_S)
    waiting = refusals.tarpit.waiting
    assert waiting > 2 * CALM_TURNS
    loop.turn(TICK_S + 0.001)
    assert waiting - CALM_TURNS - 2 * RATE * TICK_S <= refusals.tarpit.waiting <= waiting - CALM_TURNS
    for _ in range(3):
        loop.turn(TICK_S)
    assert refusals.tarpit.waiting == 0
    assert refusals.told == BURST + 1 + 3 * CALM_TURNS


@pytest.mark.parametrize(("connections", "away"), [(50, 0.001), (300, 0.001), (900, 0.001), (900, 0.3), (900, 2 * CALM_S)])
def test_who_asks_again_as_soon_as_it_is_told_gets_few_refusals_a_second(loop: StillLoop, connections: int, away: float) -> None:
    """A closed loop, of which each asks again a while (s) after it was told: how long its way takes."""
    tarpit, told = Tarpit(), [0]

    async def ask() -> None:
        while True:
            turn = tarpit.refused("noisy")
            if turn is not None:
                await turn
            told[0] += 1
            await asyncio.sleep(away)

    tasks = [loop.create_task(ask()) for _ in range(connections)]
    most = []
    for _ in range(int(10 / TICK_S)):
        before = told[0]
        loop.turn(TICK_S)
        most.append(told[0] - before)
    for task in tasks:
        task.cancel()
    loop.turn(LONGEST_S)
    steady = most[int(4 / TICK_S) :]
    assert sum(steady) / (len(steady) * TICK_S) <= max(2 * RATE, connections / (0.75 * LONGEST_S), CALM_TURNS / TICK_S * 1.05)
    assert max(steady) <= max(0.15 * connections, CALM_TURNS + 3 * RATE * TICK_S), "they do not come in bursts"
    assert tarpit.waiting == 0


def test_others_are_told_at_once(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(500)
    before = refusals.told
    refusals.come(50, "polite")
    assert refusals.told == before + 50
    loop.turn(LONGEST_S)


def test_one_caller_leaves_places_for_others_to_wait_in(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(3 * MOST, "first")
    assert refusals.tarpit.waiting == MOST / 2
    refusals.come(3 * MOST, "second")
    assert refusals.tarpit.waiting == MOST * 3 / 4
    loop.turn(LONGEST_S)


def test_a_crowd_that_waiting_does_not_slow_down_is_told_at_once_for_a_while(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(MOST, "crowd")
    for turn in refusals.waiting:
        turn.cancel()
    loop.turn()
    assert refusals.tarpit.waiting == 0
    refusals.come(500, "crowd")
    assert refusals.tarpit.waiting == 0, "there are places, but it has shown that it needs more"
    refusals.come(500, "another")
    assert refusals.tarpit.waiting > 0
    loop.turn(CROWD_S)
    refusals.come(500, "crowd")
    assert refusals.tarpit.waiting > 0
    loop.turn(LONGEST_S)
    loop.turn(LONGEST_S)


def test_who_finds_no_place_for_the_others_that_wait_is_no_crowd(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    for caller in ("first", "second", "third"):
        refusals.come(3 * MOST, caller)
    refusals.come(500, "fourth")
    places = refusals.tarpit.waiting
    for turn in refusals.waiting[: MOST // 2]:
        turn.cancel()
    loop.turn()
    refusals.come(1, "fourth")
    assert refusals.tarpit.waiting == places - MOST // 2 + 1
    loop.turn(LONGEST_S)
    loop.turn(LONGEST_S)


def test_who_gives_up_frees_its_place_at_once(loop: StillLoop) -> None:
    refusals = Refusals(loop)
    refusals.come(3 * MOST)
    for turn in refusals.waiting[:100]:
        turn.cancel()
    loop.turn()
    assert refusals.tarpit.waiting == MOST / 2 - 100
    loop.turn(LONGEST_S)
    assert refusals.tarpit.waiting == 0


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

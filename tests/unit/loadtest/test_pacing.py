"""Requests are handed out when they fall due, whoever is free."""

import time
from collections.abc import Iterable, Iterator

import gevent
import pytest

from loadtest.pacing import Pacer, Turn
from loadtest.plan import Plan
from loadtest.session import Session


def when_others_rest(*due_s: float) -> Iterator[float]:
    """Due times that come only after everybody who can go on has gone on."""
    for one in due_s:
        for _ in range(20):
            gevent.sleep(0)
        yield one


def start(dues: Iterable[float]) -> "tuple[Pacer, gevent.Greenlet[list[Turn]]]":
    pacer = Pacer(iter(dues), lambda _due, _ms: None)
    return pacer, gevent.spawn(pacer.run, time.perf_counter())


def turn(pacer: Pacer) -> Turn:
    found = pacer.turn()
    assert found is not None
    return found


def test_a_caller_who_is_free_gets_each_when_it_falls_due() -> None:
    zero = time.perf_counter()
    pacer, running = start([0.0, 0.02, 0.04])
    turns = [turn(pacer) for _ in range(3)]
    assert [one.due_s for one in turns] == [0.0, 0.02, 0.04]
    assert time.perf_counter() >= zero + 0.04, "never before it is due"
    assert [one.counts_from(7.0) for one in turns] == [7.0] * 3
    assert pacer.turn() is None
    assert running.get() == []


def test_what_finds_nobody_free_waits_in_line_and_counts_from_when_it_was_due() -> None:
    late: list[float] = []
    pacer = Pacer(iter([0.0, 0.001, 0.002, 60.0]), lambda _due, ms: late.append(ms))
    zero = time.perf_counter() - 1
    running = gevent.spawn(pacer.run, zero)
    for _ in range(5):
        gevent.sleep(0)  # the first three are due already, and nobody is there
    turns = [turn(pacer) for _ in range(3)]
    assert turns == [Turn(due_s, zero + due_s, waited=True) for due_s in (0.0, 0.001, 0.002)]
    assert turns[1].counts_from(zero + 5) == zero + 0.001
    assert min(late) > 900, "the pacer itself was a second late for them"
    running.kill()


def test_what_is_still_in_line_at_the_end_is_told_as_unsent() -> None:
    pacer, running = start([0.0, 0.0, 0.0])
    left = running.get()
    assert [one.due_s for one in left] == [0.0, 0.0, 0.0]
    assert pacer.turn() is None


def test_the_caller_who_rested_last_is_served_first() -> None:
    pacer, running = start(when_others_rest(0.0, 0.0))
    served: list[str] = []

    def call(name: str) -> None:
        while pacer.turn():
            served.append(name)

    callers = [gevent.spawn(call, name) for name in ("one", "two", "three")]
    gevent.joinall([*callers, running], raise_error=True)
    assert served == ["three", "three"]


def test_a_caller_who_was_stopped_is_handed_nothing() -> None:
    pacer, running = start(when_others_rest(0.0))
    stopped, other = gevent.spawn(pacer.turn), gevent.spawn(pacer.turn)
    gevent.sleep(0)
    other.kill()
    found = stopped.get()
    assert found is not None
    assert found.due_s == 0.0
    assert running.get() == []


def test_a_session_counts_only_what_falls_due_after_the_warm_up() -> None:
    plan = Plan(rate=10, seconds=10, warm_up_s=2, mix={"classify": 1})
    session = Session(plan, "locust 0", "cnn")
    for due_s, fate in ((1.9, "ok"), (2.0, "ok"), (3.0, "shed"), (4.0, "500"), (11.0, "ok")):
        turn = Turn(due_s, 100.0, waited=fate == "ok")
        session.sent("classify", turn)
        session.answered("classify", turn, fate, began=100.004, ended=100.010, stages={"total": 4.0, "queue": 1.0})
    session.add(session.take())
    tally = session.total.kinds["classify"]
    assert (tally.sent, tally.ok, tally.shed, tally.failures) == (4, 2, 1, {"500": 1})
    assert tally.took.percentile(0.5) == pytest.approx(10, rel=0.01), "from when it was due"
    assert session.total.lag.percentile(0.5) == pytest.approx(4, rel=0.01), "of those that found a caller, until they went out"
    assert tally.reply.percentile(0.5) == pytest.approx(6, rel=0.01), "from when it was sent"
    assert tally.stages["network and client"].percentile(0.5) == pytest.approx(2, rel=0.01)
    assert {number: (step.ok, step.shed, step.failed) for number, step in session.total.steps.items()} == {
        0: (1, 0, 0),
        1: (0, 1, 0),
        2: (0, 0, 1),
        9: (1, 0, 0),
    }
    session.add(session.take())
    assert session.total.kinds["classify"].sent == 4, "nothing is counted twice"


def test_callers_are_enough_for_each_kind() -> None:
    plan = Plan(rate=200, mix={"classify": 98, "scoring": 2}, processes=6)
    assert (plan.callers("classify"), plan.callers("scoring")) == (196, 6)
    assert Plan(rate=2, mix={"classify": 1}).callers("classify") == 4
    assert Plan(rate=2, users=50, mix={"classify": 1}).callers("classify") == 50


def test_the_shares_of_all_processes_are_the_whole_rate() -> None:
    plan = Plan(rate=50, seconds=20, warm_up_s=0, processes=3, mix={"classify": 1})
    everyone = plan.callers("classify")
    parts = [everyone // 3, everyone // 3, everyone - 2 * (everyone // 3)]
    assert sum(plan.rate_of("classify") * count / everyone for count in parts) == pytest.approx(50)
    assert plan.expected() == pytest.approx(1000)

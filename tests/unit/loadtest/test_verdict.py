"""Thresholds out of TOML, and what a test says when held against them."""

from pathlib import Path

import pytest

from loadtest.histogram import Histogram
from loadtest.plan import Plan
from loadtest.results import SERVER, Results, Tally
from loadtest.thresholds import DEFAULT, Thresholds, ThresholdsError, read_thresholds
from loadtest.verdict import Exit, doubts, judge

PLAN = Plan(rate=10, seconds=10, mix={"classify": 1})


def thresholds(tmp_path: Path, text: str) -> Thresholds:
    (tmp_path / "kept.toml").write_text(text)
    return read_thresholds(tmp_path / "kept.toml")


def filled(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def results(
    *, ok: int = 100, shed: int = 0, failed: int = 0, unsent: int = 0, ms: float = 20, late: float = 1, busy: float = 30
) -> Results:
    tally = Tally(sent=ok + shed + failed, ok=ok, shed=shed, unsent=unsent, took=filled([ms] * ok), reply=filled([ms] * ok))
    for _ in range(failed):
        tally.fail("500")
    tally.stages[SERVER] = filled([0.9 * ms] * ok)
    return Results(kinds={"classify": tally}, lag=filled([late] * 100), busy={"locust 0": filled([busy] * 10)})


def exit_of(tmp_path: Path, text: str, found: Results, plan: Plan = PLAN) -> Exit:
    return judge(plan, found, thresholds(tmp_path, text)).exit


@pytest.mark.parametrize(
    ("line", "good", "bad"),
    [
        ("p50_ms = 50", results(ms=49), results(ms=52)),
        ("p95_ms = 50", results(ms=49), results(ms=52)),
        ("p99_ms = 50", results(ms=49), results(ms=52)),
        ("max_failure_ratio = 0.02", results(ok=98, failed=2), results(ok=97, failed=3)),
        ("max_shed_ratio = 0.02", results(ok=98, shed=2), results(ok=97, shed=3)),
        ("max_shed_ratio = 0", results(ok=97, failed=3), results(ok=99, shed=1)),
        ("max_failure_ratio = 0", results(ok=97, shed=3), results(ok=99, failed=1)),
        ("min_requests_per_s = 9.8", results(ok=98, failed=2), results(ok=97, failed=3)),
    ],
)
@pytest.mark.parametrize("table", ["all", "classify"])
def test_each_threshold_is_kept_or_missed(tmp_path: Path, table: str, line: str, good: Results, bad: Results) -> None:
    assert exit_of(tmp_path, f"[{table}]\n{line}", good) is Exit.PASSED
    assert exit_of(tmp_path, f"[{table}]\n{line}", bad) is Exit.MISSED


def test_a_kind_s_own_threshold_takes_the_place_of_the_common_one(tmp_path: Path) -> None:
    text = "[all]\np99_ms = 10\nmax_shed_ratio = 0.5\n[classify]\np99_ms = 100"
    verdict = judge(PLAN, results(ms=20), thresholds(tmp_path, text))
    assert [(line.name, line.limit, line.kept) for line in verdict.lines] == [
        ("p99_ms", 100, True),
        ("max_shed_ratio", 0.5, True),
    ]


def test_without_an_answer_no_latency_is_kept(tmp_path: Path) -> None:
    assert exit_of(tmp_path, "[all]\np50_ms = 1000", results(ok=0, failed=100)) is Exit.MISSED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[all]\np98_ms = 5", "all.p98_ms: Extra inputs"),
        ("[all]\np99_ms = 0", "all.p99_ms: Input should be greater than 0"),
        ("[all]\nmax_shed_ratio = 1.5", "less than or equal to 1"),
        ("[everyone]\np99_ms = 5", "no users 'everyone'; there are: all, classify"),
        ("p99_ms = 5", "no users 'p99_ms'"),
        ("[all", "kept.toml"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ThresholdsError) as caught:
        thresholds(tmp_path, text)
    assert reason in str(caught.value)


def test_a_missing_file_is_refused_and_the_default_is_sound(tmp_path: Path) -> None:
    with pytest.raises(ThresholdsError, match=r"none\.toml"):
        read_thresholds(tmp_path / "none.toml")
    assert read_thresholds(DEFAULT).of("classify").p99_ms == 500


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (results(busy=95), "used 95 % of its core"),
        (results(late=60), "late"),
        (results(ok=80), "handed out 80 requests of 100"),
        (Results(), "nothing was sent"),
    ],
)
def test_a_test_that_measured_locust_does_not_count(tmp_path: Path, found: Results, word: str) -> None:
    verdict = judge(PLAN, found, thresholds(tmp_path, "[all]\np99_ms = 1"))
    assert verdict.exit is Exit.VOID, "whether or not thresholds were missed"
    assert word in " ".join(verdict.doubts)


def test_a_sound_test_is_not_in_doubt() -> None:
    assert doubts(PLAN, results()) == []
    assert doubts(PLAN.model_copy(update={"rate": None, "users": 5}), results(ok=3, late=60)) == [], (
        "a closed loop has no due times"
    )


def test_an_overloaded_server_is_the_server_s_fault_and_an_idle_one_is_not() -> None:
    busy = results(ok=60, unsent=40, ms=3000)
    assert doubts(PLAN, busy) == []
    idle = results(ok=60, unsent=40, ms=3000)
    idle.kinds["classify"].stages[SERVER] = filled([5] * 60)
    assert "raise --users" in " ".join(doubts(PLAN, idle))


def test_a_process_that_never_reported_is_missed() -> None:
    assert doubts(PLAN.model_copy(update={"processes": 2}), results()) == ["only 1 of 2 locust processes reported"]


def test_an_interrupted_test_has_no_verdict(tmp_path: Path) -> None:
    verdict = judge(PLAN, results(), thresholds(tmp_path, ""), interrupted=True)
    assert verdict.exit == 130
    assert "Interrupted" in verdict.sentence

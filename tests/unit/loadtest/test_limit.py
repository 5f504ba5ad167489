"""The search for the best plan, and what the limit measures."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.bench import limit, plans
from loadtest.bench.limit import LimitJob
from service.tuning import Plan
from tests.support.images import labelled
from tests.support.models import tiny_model


def speeds(**special: float) -> tuple[list[Plan], Callable[[Plan], float]]:
    asked: list[Plan] = []

    def rate(plan: Plan) -> float:
        asked.append(plan)
        return special.get(f"b{plan.batch_size}l{plan.lanes}t{plan.threads}", 1)

    return asked, rate


@pytest.mark.parametrize(
    ("cpus", "pairs"),
    [
        (1, [(1, 1), (2, 1)]),
        (2, [(1, 2), (2, 1), (3, 1)]),
        (4, [(1, 4), (2, 2), (4, 1), (5, 1)]),
        (6, [(1, 4), (1, 6), (2, 2), (4, 1), (6, 1), (7, 1)]),
    ],
)
def test_only_plans_that_use_the_machine_are_worth_trying(cpus: int, pairs: list[tuple[int, int]]) -> None:
    assert plans.worth_trying(cpus) == pairs


def test_the_fastest_plan_is_found() -> None:
    _, rate = speeds(b4l2t1=9)
    assert plans.search(2, rate) == Plan(batch_size=4, lanes=2, threads=1)


def test_bigger_batches_are_not_tried_once_they_are_slower() -> None:
    asked, rate = speeds(b2l1t1=0.5, b4l1t1=9)
    assert plans.search(1, rate).batch_size == 1
    assert max(plan.batch_size for plan in asked if plan.lanes == 1) == 2


def test_a_lucky_look_does_not_win() -> None:
    looks = {1: iter([10.0, 10, 10]), 2: iter([12.0, 9, 9]), 4: iter([9.5, 9.5, 9.5]), 8: iter([9.6, 1, 1])}
    assert plans.search(1, lambda plan: next(looks[plan.batch_size]) if plan.lanes == 1 else 0.0).batch_size == 1


@pytest.fixture
def job(tmp_path: Path) -> LimitJob:
    stored = tiny_model(tmp_path)
    images = list(labelled({"dark": 2, "bright": 2}).values())
    return LimitJob(stored.folder / stored.card.variants[0].file, stored.card.input, images, cpus=1)


def test_a_job_travels_as_json(job: LimitJob) -> None:
    assert LimitJob.from_json(job.to_json()) == job
    planned = LimitJob(job.model, job.spec, job.images, 2, Plan(batch_size=2, lanes=2, threads=1), 0.5)
    assert LimitJob.from_json(planned.to_json()) == planned


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_limit_is_measured(
    job: LimitJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], batch_size: int
) -> None:
    monkeypatch.setattr(limit, "WARM_UP_S", 0.01)
    plan = Plan(batch_size=batch_size, lanes=2, threads=1)
    whole = LimitJob(job.model, job.spec, job.images, 2, plan, 0.06)
    monkeypatch.setattr(sys, "stdin", io.StringIO(whole.to_json()))
    limit.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["measuring", "measured", "result"]
    assert lines[-1]["rate"] > 0
    assert 0 < lines[-1]["decode_ms"] <= lines[-1]["both_ms"]
    assert 0 < lines[-1]["infer_ms"] <= lines[-1]["both_ms"]


def test_the_search_runs_real_plans(job: LimitJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(limit, "LOOK_S", 0.005)
    monkeypatch.setattr(sys, "stdin", io.StringIO(job.to_json()))
    limit.main()
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["plan"]["lanes"], line["plan"]["threads"]) in [(1, 1), (2, 1)]

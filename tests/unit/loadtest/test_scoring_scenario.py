"""Scoring runs, alone and beside callers: the whole scenarios, on a model of nearly nothing and for some seconds."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.bench import scoring, stage, throughput
from loadtest.bench.scorer import Scorer
from service.tuning import Plan
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[stage.Stage]:
    stored = tiny_model(tmp_path / "store", labels=["dark", "bright"])
    images = write_folder(tmp_path / "images", labelled({"dark": 6, "bright": 6}, "JPEG"))
    with stage.open_stage(stored, str(images), tune="off") as opened:
        yield opened


def test_callers_are_answered_beside_runs_which_go_on(here: stage.Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CAPACITY_S", 1.0)
    monkeypatch.setattr(scoring, "PART_S", 2.0)
    monkeypatch.setattr(scoring, "LOAD", 0.05)
    sheet = scoring.scoring(here)
    assert [row[0] for row in sheet.rows] == ["alone", "beside a scoring run", "alone again"]
    assert [len(row) for row in sheet.rows] == [len(sheet.header)] * 3
    assert len(sheet.notes) == 1, "nothing went wrong beside it"
    assert int(sheet.notes[0].split()[0].replace(",", "")) > 0


def test_runs_are_held_against_the_limit_before_and_after(here: stage.Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "best_plan", lambda _job: Plan(1, 1, 1))
    monkeypatch.setattr(throughput, "ROUNDS", 2)
    monkeypatch.setattr(throughput, "LIMIT_S", 0.3)
    monkeypatch.setattr(throughput, "IMAGES", 50)
    sheet = throughput.throughput(here)
    (_, limit, _, _), (_, run, _, share) = sheet.rows
    assert 0 < float(run.replace(",", "")) < float(limit.replace(",", ""))
    assert share.endswith("%")
    assert "2 runs over 60 images" in sheet.notes[0]
    with Scorer(here.server.url, "tiny", here.known, 200) as scorer:
        assert scorer.run(lambda: True)["state"] in {"queued", "running"}, "told to stop, it does not wait for the end"
        assert scorer.run()["progress"]["done"] == 200 * len(here.known)

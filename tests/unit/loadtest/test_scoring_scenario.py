"""Callers beside scoring runs: the whole scenario, on a model of nearly nothing and for some seconds."""

import sys
from pathlib import Path

import pytest

from loadtest.bench import scoring, stage
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_callers_are_answered_beside_runs_which_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CAPACITY_S", 1.0)
    monkeypatch.setattr(scoring, "PART_S", 2.0)
    monkeypatch.setattr(scoring, "LOAD", 0.05)
    stored = tiny_model(tmp_path / "store", labels=["dark", "bright"])
    images = write_folder(tmp_path / "images", labelled({"dark": 6, "bright": 6}, "JPEG"))
    with stage.open_stage(stored, str(images)) as here:
        sheet = scoring.scoring(here)
    assert [row[0] for row in sheet.rows] == ["alone", "beside a scoring run", "alone again"]
    assert [len(row) for row in sheet.rows] == [len(sheet.header)] * 3
    assert len(sheet.notes) == 1, "nothing went wrong beside it"
    assert int(sheet.notes[0].split()[0].replace(",", "")) > 0

"""A sweep that is killed in the middle of a trial and started again: a model, and no trial lost or doubled."""

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import parallax
from models import golden
from models.errors import UsageError
from models.repository import Repository
from models.runtime import OnnxModel
from tests.support.images import labelled, write_folder
from tests.support.server import eventually
from tests.support.sweeps import start, write_space
from training.runs import Run
from training.sweep import crew, worker
from training.sweep.job import Sweep
from training.sweep.queue import Queue

TRIALS = 3


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    photos = write_folder(tmp_path / "photos", labelled({"dark": 20, "bright": 20}))
    space = write_space(tmp_path / "space.toml", epochs=20)
    words: list[object] = ["--data", photos, "--space", space, "--study", "s", "--max-trials", TRIALS, "--no-fine-tune"]
    return [str(word) for word in words]


@pytest.fixture
def resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """The command, with its one worker inside this process, which has loaded TensorFlow already."""

    def run(sweep: Sweep, queue: Queue, concurrent: int, deadline: float, look: Callable[[], None]) -> bool:
        worker.work(sweep, concurrent, deadline)
        look()
        return True

    monkeypatch.setattr(crew, "run", run)
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PARALLAX_MODELS_DIR", str(tmp_path / "data" / "store"))

    def invoke(*words: str) -> str:
        return CliRunner().invoke(parallax.app, ["train", "automl", *words], catch_exceptions=False).output

    return invoke


def rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def test_a_killed_sweep_goes_on_and_ends_with_a_model(tmp_path: Path, options: list[str], resume: Callable[..., str]) -> None:
    database = tmp_path / "data" / "sweeps" / "s" / "study.db"
    first = start(tmp_path / "data", *options)
    assert first.stdout
    for line in first.stdout:  # the first trial has ended; within half a second the second is under way
        if line.startswith("1/3: "):
            break
    learning = "SELECT v.trial_id FROM trial_intermediate_values v JOIN trials t USING (trial_id) WHERE t.state = 'RUNNING'"
    eventually(lambda: rows(database, learning), "a trial learns")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = rows(database, "SELECT number, state FROM trials ORDER BY number")
    assert len(before) == TRIALS
    assert "RUNNING" in dict(before).values()

    output = resume(*options, "--resume")
    version = Path(output.split()[-1])
    trials = rows(database, "SELECT number, state FROM trials ORDER BY number")
    assert [state for _, state in trials].count("COMPLETE") == TRIALS
    (lost,) = (number for number, state in trials if state == "FAIL")
    assert dict(before)[lost] == "RUNNING"
    drawn = "SELECT t.number, p.param_name, p.param_value FROM trial_params p JOIN trials t USING (trial_id)"
    params = {number: sorted(row[1:] for row in rows(database, drawn) if row[0] == number) for number, _ in trials}
    assert params[TRIALS] == params[lost], "what was lost is had again, as it was"

    stored = Repository(version.parent.parent).get("automl")
    stored.verify()
    facts = stored.card.training
    assert facts
    assert facts.sweep
    assert (facts.recipe, facts.phase, facts.sweep.trials, facts.sweep.study) == ("automl", "frozen", TRIALS, "s")
    assert facts.settings["head.optimizer.learning_rate"]
    model = OnnxModel(stored.folder / "model.onnx", threads=1)
    assert golden.check(stored.folder / "golden.npz", stored.card.input, "fp32", model.run, model.provider) == 0
    assert "chosen by the sweep s: trial" in (stored.folder / "CARD.md").read_text(encoding="utf-8")

    board = json.loads((database.parent / "leaderboard.json").read_text())
    values = [row["accuracy"]["value"] for row in board["rows"]]
    assert board["version"] == "automl/1"
    assert len(values) == TRIALS
    assert values == sorted(values, reverse=True)
    assert board["rows"][0]["trial"] == facts.sweep.winner
    assert facts.validation.value == pytest.approx(values[0]), "the winner's own head is what was exported"
    assert all(row["latency_ms"] > 0 and row["parameters"] > 2_000_000 and row["usd"] >= 0 for row in board["rows"])
    assert facts.minutes * 60 >= sum(row["minutes"] for row in board["rows"]) * 60 - 2
    report = (database.parent / "report.html").read_text(encoding="utf-8")
    assert report.count("Plotly.newPlot") == 6
    assert "src=" not in report.split("<body>")[1]
    assert Run(next((tmp_path / "data" / "runs").iterdir())).read().facts == facts
    assert not list((database.parent / "images").rglob("*.npy")), "pixels are not kept"

    with pytest.raises(UsageError, match=r"begun before.*--resume"):
        resume(*options)
    with pytest.raises(UsageError, match="another seed"):
        resume(*options, "--resume", "--seed", "2")
    assert np.isfinite(values).all()

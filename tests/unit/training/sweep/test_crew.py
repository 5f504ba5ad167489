"""Worker processes: replaced when they are killed, heard when they complain."""

import math
from pathlib import Path

import optuna
import pytest

from models.errors import UsageError
from tests.support import crews
from training.sweep import crew, worker
from training.sweep.images import Sources
from training.sweep.job import Sweep
from training.sweep.queue import Queue
from training.sweep.space import Space
from training.sweep.storage import sqlite


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    sources = Sources(["a.zip"], [], [])
    return Sweep("s", sqlite(tmp_path), tmp_path, Space.model_validate({"parameters": {"epochs": 3}}), sources, 1, 3, 10**9)


@pytest.fixture
def queue(sweep: Sweep) -> Queue:
    return Queue(sweep.open(), sweep.slots, sweep.folder)


def test_a_killed_worker_is_replaced_and_its_trial_had_again(sweep: Sweep, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "main", crews.dies_once)
    looks: list[int] = []
    assert crew.run(sweep, queue, 2, math.inf, lambda: looks.append(1))
    states = [trial.state for trial in queue.study.trials]
    assert states.count(optuna.trial.TrialState.COMPLETE) == 3
    assert states.count(optuna.trial.TrialState.FAIL) == 1
    assert len(looks) >= 2


def test_what_a_worker_complains_of_ends_the_sweep(sweep: Sweep, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "main", crews.complains)
    with pytest.raises(UsageError, match="epochs are 3"):
        crew.run(sweep, queue, 1, math.inf, lambda: None)


def test_a_worker_that_breaks_ends_the_sweep(
    sweep: Sweep, queue: Queue, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "main", crews.breaks)
    with pytest.raises(UsageError, match="a worker failed"):
        crew.run(sweep, queue, 1, math.inf, lambda: None)
    assert "broken" in capfd.readouterr().err


def test_a_study_that_is_done_needs_no_workers(sweep: Sweep, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "Crew", None)
    done = Queue(queue.study, 0, sweep.folder)
    assert crew.run(sweep, done, 1, math.inf, lambda: None)

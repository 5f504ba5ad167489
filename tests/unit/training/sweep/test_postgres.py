"""Two processes, as on two machines, work on one study in a real PostgreSQL."""

from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.support import postgres
from tests.support.images import labelled, write_folder
from tests.support.sweeps import start, write_space
from training.sweep.storage import open_storage

FOLDER = postgres.binaries()
TRIALS = 4


@pytest.mark.skipif(FOLDER is None, reason="PostgreSQL is not installed (Debian's package postgresql)")
def test_two_workers_share_a_study(tmp_path: Path) -> None:
    assert FOLDER
    photos = write_folder(tmp_path / "photos", labelled({"dark": 20, "bright": 20}))
    space = write_space(tmp_path / "space.toml", epochs=20)
    with postgres.running(FOLDER) as url:
        workers = [
            start(
                tmp_path / machine,
                *("--worker", "--study", "shared", "--data", photos, "--space", space, "--max-trials", str(TRIALS)),
                PARALLAX_STUDY_STORAGE=url,
            )
            for machine in ("one", "two")
        ]
        outputs = [process.communicate(timeout=240)[0] for process in workers]
        assert [process.returncode for process in workers] == [0, 0], outputs
        storage = open_storage(url)
        study = optuna.load_study(study_name="shared", storage=storage)
        trials = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
        storage.engine.dispose()
    assert sorted(trial.user_attrs["slot"] for trial in trials) == list(range(TRIALS))
    assert len({trial.params["learning_rate"] for trial in trials}) == TRIALS, "no two workers draw alike"
    shares = Counter(trial.user_attrs["owner"]["lock"] for trial in trials)
    assert len(shares) == 2, f"one did nothing: {shares}"
    assert not any(postgres.PASSWORD in output for output in outputs)
    assert all("postgresql+psycopg://sweeper:***@" in output for output in outputs)

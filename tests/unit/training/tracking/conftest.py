"""A tracking store of the tests' own; its tables are made once."""

from pathlib import Path

import pytest

from models.repository import Repository
from training.tracking.server import connect


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all is tracked. MLflow is loaded here, before a test catches what is printed.

    It closes the log handlers that it finds, and TensorFlow's then closes the stream that it began with, if that is not standard
    error at the moment. Within `capsys` it is not: it is what pytest catches everything in.
    """
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARALLAX_DATA_DIR", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        connect()
    return folder


@pytest.fixture(autouse=True)
def _tracked_at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(home))
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "PARALLAX_TRACK"):
        monkeypatch.setenv(name, "")  # and whatever MLflow sets is undone


@pytest.fixture
def store(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "store")


@pytest.fixture
def other(tmp_path: Path) -> Repository:
    """A store on another machine."""
    return Repository(tmp_path / "other")


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of a server that is not there."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return "http://somebody:secret@127.0.0.1:9"

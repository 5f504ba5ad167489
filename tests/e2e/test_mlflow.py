"""`parallax train` -> MLflow, as its own server shows it -> `parallax models pull` -> the same scores over HTTP."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models import imaging
from models.repository import Repository
from models.runtime import OnnxModel
from tests.support.images import labelled, write_folder
from tests.support.server import serving

RECIPE = """
backend = "tiny"
height = 94
width = 94
epochs = 2
batch_size = 8
"""


def _env(folder: Path, **more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PARALLAX_", "MLFLOW_"))}
    places = {"PARALLAX_MODELS_DIR": str(folder / "store"), "PARALLAX_DATA_DIR": str(folder / "data"), "COLUMNS": "200"}
    return env | places | {"MLFLOW_DISABLE_TELEMETRY": "true"} | more


def _parallax(folder: Path, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "parallax", *arguments]
    return subprocess.run(command, env=_env(folder, **env), cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two epochs, tracked as by default, but for the experiment's name."""
    folder = tmp_path_factory.mktemp("tracked")
    write_folder(folder / "photos", labelled({"dark": 20, "bright": 20}, width=100, height=100))
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    done = _parallax(folder, "train", "cnn", "--data", "photos", "--config", "recipe.toml", "--experiment", "scenes")
    assert done.returncode == 0, done.stderr
    assert "tracked and registered as models:/tiny/1" in done.stderr
    assert f"mlflow ui --backend-store-uri sqlite:///{folder}/data/mlflow/mlflow.db" in done.stderr
    assert not (folder / "mlruns").exists()
    assert "Warning" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[httpx.Client]:
    """MLflow's server with its page, over what was tracked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = f"sqlite:///{trained}/data/mlflow/mlflow.db"
    options = ["--backend-store-uri", database, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", *options]
    env = _env(trained, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, env=env, cwd=trained, start_new_session=True, **output)  # type: ignore[call-overload]
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        reader = threading.Thread(target=process.stdout.read, daemon=True)  # else it would wait for one in the end
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "Uvicorn running on" in line:
                    break
            else:
                pytest.fail("".join(said))
            reader.start()
            yield client
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it has children
            if reader.ident:
                reader.join()


def _ask(client: httpx.Client, path: str, **query: str | list[str]) -> Any:  # noqa: ANN401
    return client.get(f"/api/2.0/mlflow/{path}", params=query).raise_for_status().json()


def test_its_page_is_there(server: httpx.Client) -> None:
    page = server.get("/")
    assert page.is_success
    assert "<title>MLflow</title>" in page.text


def test_it_shows_the_experiment_the_run_and_the_registered_model(server: httpx.Client, trained: Path) -> None:
    experiment = _ask(server, "experiments/get-by-name", experiment_name="scenes")["experiment"]
    body = {"experiment_ids": [experiment["experiment_id"]]}
    (run,) = server.post("/api/2.0/mlflow/runs/search", json=body).raise_for_status().json()["runs"]
    facts = Repository(trained / "store").get("tiny").card.training
    assert facts
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert run["info"]["status"] == "FINISHED"
    assert metrics["validation_accuracy"] == facts.validation.value
    history = _ask(server, "metrics/get-history", run_id=run["info"]["run_id"], metric_key="val_loss")["metrics"]
    assert [one["step"] for one in history] == [1, 2]
    (version,) = _ask(server, "model-versions/search", filter="name='tiny'")["model_versions"]
    assert version["run_id"] == run["info"]["run_id"]
    files = {one["path"] for one in _ask(server, "artifacts/list", run_id=version["run_id"])["files"]}
    assert "confusion.png" in files
    picture = server.get("/get-artifact", params={"path": "confusion.png", "run_uuid": version["run_id"]})
    assert picture.content.startswith(b"\x89PNG")


def test_a_pulled_model_serves_the_scores_of_the_one_that_was_trained(server: httpx.Client, trained: Path) -> None:
    address = str(server.base_url).rstrip("/")
    done = _parallax(trained, "models", "pull", "models:/tiny/latest", "--store", "pulled", MLFLOW_TRACKING_URI=address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "pulled/tiny/1"
    stored = Repository(trained / "store").get("tiny")
    model = OnnxModel(stored.folder / stored.card.variants[0].file, threads=1)
    with serving(trained, models_dir=trained / "pulled") as service, service.client() as client:
        for data in labelled({"dark": 2, "bright": 2}, "JPEG", width=120, height=80).values():
            reply = client.post("/v1/classify", params={"backend": "tiny"}, content=data).raise_for_status().json()
            expected = model.run(imaging.load(data, stored.card.input)[None])[0]
            got = {row["label"]: row["probability"] for row in reply["predictions"]}
            assert [got[label] for label in stored.card.labels] == pytest.approx(expected, abs=2e-6)


def test_push_sends_a_version_to_the_server_that_the_environment_names(server: httpx.Client, trained: Path) -> None:
    again = _parallax(trained, "models", "push", "tiny", MLFLOW_TRACKING_URI=str(server.base_url).rstrip("/"))
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == "models:/tiny/1", "it was registered already"

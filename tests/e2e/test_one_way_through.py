"""Class folders -> `parallax train` -> ONNX in the store -> `parallax serve` -> the same scores over HTTP."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from models import imaging
from models.repository import Repository
from tests.support.images import labelled, write_folder, write_zip
from tests.support.server import serving

RECIPE = """
backend = "tiny"
height = 96
width = 96
epochs = 1
batch_size = 8
[augmentation]
min_area = 0.7
flip = true
"""


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "parallax", *arguments]


def _env(folder: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PARALLAX_", "TF_CPP_"))}
    places = {"PARALLAX_MODELS_DIR": str(folder / "store"), "PARALLAX_DATA_DIR": str(folder / "data")}
    return env | places | {"PARALLAX_TRACK": "off", "COLUMNS": "200"}


def _parallax(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(_command(*arguments), env=_env(folder), cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that one epoch of `parallax train cnn` on generated class folders has filled."""
    folder = tmp_path_factory.mktemp("one-way")
    photos = labelled({"dark": 30, "grey": 30, "bright": 30}, width=120, height=100)
    write_folder(folder / "photos", {name: data for name, data in photos.items() if not name.startswith("grey/")})
    write_zip(folder / "grey.zip", {f"wrapped/{name}": data for name, data in photos.items() if name.startswith("grey/")})
    write_zip(folder / "test.zip", labelled({"dark": 5, "grey": 5, "bright": 5}, width=90, height=90))
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    done = _parallax(folder, "train", "cnn", "--data", "photos", "grey.zip", "--exclude", "test.zip", "--config", "recipe.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder / "store" / "tiny" / "1")
    for expected in (
        "90 images of 3 classes (bright, dark, grey)",
        "validation, epoch 1 of 1",
        "is \\ named",
        "USD",
        "ONNX agrees with Keras",
    ):
        assert expected in done.stderr
    assert "TensorFlow" not in done.stderr, "what it says of itself"
    return folder


def test_http_answers_what_keras_answers(trained: Path) -> None:
    stored = Repository(trained / "store").get("tiny")
    assert stored.card.keras is not None
    model = keras.models.load_model(stored.folder / stored.card.keras.file, compile=False)
    images = labelled({"dark": 3, "grey": 3, "bright": 3}, "JPEG", width=130, height=80)
    with serving(trained, models_dir=trained / "store") as server, server.client() as client:
        for data in images.values():
            reply = client.post("/v1/classify", params={"backend": "tiny", "top": 3}, content=data).raise_for_status().json()
            pixels = imaging.load(data, stored.card.input)
            expected = np.asarray(model(pixels[None].astype(np.float32)))[0]
            got = {row["label"]: row["probability"] for row in reply["predictions"]}
            np.testing.assert_allclose([got[label] for label in stored.card.labels], expected, atol=1e-3)
            assert reply["predictions"][0]["label"] == stored.card.labels[int(expected.argmax())]


def test_the_card_says_what_the_run_was(trained: Path) -> None:
    card = json.loads((trained / "store" / "tiny" / "1" / "model.json").read_text(encoding="utf-8"))
    facts = card["training"]
    assert [file["name"] for file in facts["data"]] == ["photos", "grey.zip"]
    assert [file["name"] for file in facts["excluded"]] == ["test.zip"]
    assert facts["counts"]["train"] + facts["counts"]["validation"] + facts["counts"]["conflicting_duplicates"] == 90
    assert str(trained) not in json.dumps(card)


def test_other_labels_under_the_same_name_are_refused(trained: Path) -> None:
    write_folder(trained / "pets", labelled({"cat": 4, "dog": 4}, width=96, height=96))
    done = _parallax(trained, "train", "cnn", "--data", "pets", "--config", "recipe.toml")
    assert done.returncode == 2
    assert "--name" in done.stderr
    assert Repository(trained / "store").get("tiny").card.version == "1"


def test_a_test_set_is_met_once(trained: Path) -> None:
    first = _parallax(trained, "models", "evaluate", "tiny", "--test", "test.zip")
    assert first.returncode == 0, first.stderr
    second = _parallax(trained, "models", "evaluate", "tiny", "--test", "test.zip")
    assert second.returncode == 2
    assert "met these images on" in second.stderr
    (test,) = Repository(trained / "store").get("tiny").card.tests
    assert test.data.images == 15


def test_export_repeats_a_run_as_a_new_version(trained: Path) -> None:
    (run,) = (trained / "data" / "runs").glob("tiny-*")
    done = _parallax(trained, "export", str(run), "--store", "again")
    assert done.returncode == 0, done.stderr
    first = Repository(trained / "store").get("tiny")
    again = Repository(trained / "again").get("tiny")
    assert again.card.training == first.card.training
    again.verify()


def _interrupted(folder: Path, epochs: int, name: str, number: signal.Signals) -> tuple[int, str]:
    """Train under a name, send a signal once the second epoch has ended, and return exit status and output."""
    (folder / f"{name}.toml").write_text(RECIPE.replace("epochs = 1", f"epochs = {epochs}"), encoding="utf-8")
    with subprocess.Popen(
        _long(name), env=_env(folder), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr
        written, sent = [], False
        for line in run.stderr:
            written.append(line)
            if line.startswith(f"epoch   2/{epochs}") and not sent:
                sent = True  # once: a line that the signal cuts short is written again
                run.send_signal(number)
        return run.wait(), "".join(written)


def _long(name: str) -> list[str]:
    return _command("train", "cnn", "--data", "photos", "grey.zip", "--config", f"{name}.toml", "--name", name)


def test_ctrl_c_keeps_the_best_epoch_and_exports_it(trained: Path) -> None:
    status, output = _interrupted(trained, 1000, "stopped", signal.SIGINT)
    assert status == 0, output
    facts = Repository(trained / "store").get("stopped").card.training
    assert facts is not None
    assert 2 <= facts.epochs < 1000


def test_a_run_that_was_killed_goes_on_where_it_was(trained: Path) -> None:
    status, _ = _interrupted(trained, 4, "resumed", signal.SIGKILL)
    assert status == -signal.SIGKILL
    done = _parallax(trained, *_long("resumed")[3:], "--resume")
    assert done.returncode == 0, done.stderr
    assert "epoch   1/4" not in done.stderr
    assert "epoch   4/4" in done.stderr
    facts = Repository(trained / "store").get("resumed").card.training
    assert facts is not None
    assert facts.epochs == 4

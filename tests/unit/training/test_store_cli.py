"""`parallax models optimize` and `import`, from the command line."""

import sys
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import parallax
from models.errors import UsageError
from models.metadata import InputSpec
from models.repository import Repository
from tests.support.images import labelled, write_folder, write_zip
from tests.unit.training.hand_made import foreign, layered
from training import optimize as module
from training.throughput import images_per_second


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty store, which the environment names."""
    monkeypatch.setenv("PARALLAX_MODELS_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(module, "images_per_second", partial(images_per_second, rounds=1, seconds=0.0))
    return Repository(tmp_path / "store")


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(parallax.app, ["models", *map(str, args)], catch_exceptions=False)


def bring(tmp_path: Path, *ranges: float) -> None:
    """`small/1`, which tells dark from bright, imported as what it is already."""
    path = layered(tmp_path / "small.onnx", ranges or (1, 1, 1))
    result = call("import", path, "--labels", "dark", "bright", "--preprocess", "range=0..255")
    assert result.exit_code == 0, result.output


def test_an_imported_model_is_optimised_on_ones_own_images(store: Repository, tmp_path: Path) -> None:
    bring(tmp_path)
    source = write_folder(tmp_path / "photos", labelled({"dark": 30, "bright": 30}))
    test = write_zip(tmp_path / "test.zip", labelled({"dark": 2, "bright": 2}))
    result = call("optimize", "small", "--data", source, "--exclude", test, "--leave-out", "dark/30.png", "--calibration", "8")
    assert result.exit_code == 0, result.output
    stored = store.get("small")
    stored.verify()
    assert [variant.precision for variant in stored.card.variants] == ["fp32", "int8", "fp16"]
    change = stored.card.variants[1].change
    assert change
    assert change.images == 6, "a tenth of 28 and of 27, rounded up"
    said = " ".join(result.stderr.split())
    assert "int8, 8 images to calibrate: +0.00 points against fp32" in said
    assert "This is not the cut that the model learnt from" in said
    assert list((tmp_path / "data").iterdir()) == [], "the decoded images are gone"


def test_a_refusal_is_told_in_the_exit_status(store: Repository, tmp_path: Path) -> None:
    bring(tmp_path, 1e4, 1e4, 1e4)
    source = write_folder(tmp_path / "photos", labelled({"dark": 10, "bright": 10}))
    assert call("optimize", "small/1", "--data", source, "--precision", "int8").exit_code == 1
    assert [variant.precision for variant in store.get("small").card.variants] == ["fp32"]
    assert call("optimize", "small/1", "--data", source, "--precision", "fp16").exit_code == 0


@pytest.mark.parametrize("words", ["fp32", "int8,int8", "int4", ""])
def test_precisions_are_int8_and_fp16(tmp_path: Path, words: str) -> None:
    bring(tmp_path)
    with pytest.raises(UsageError, match="name fp16 or int8, each at most once"):
        call("optimize", "small", "--data", tmp_path, "--precision", words)


def test_import_puts_a_file_into_the_store_under_its_own_name(store: Repository, tmp_path: Path) -> None:
    path = foreign(tmp_path / "Scenes.onnx", logits=True)
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffa\n b \nc\n\nd\n", encoding="utf-8")
    result = call("import", path, "--preprocess", "torchvision", "resize=bicubic", "--labels", labels)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(store.root / "scenes" / "1")
    card = store.get("scenes").card
    assert (card.labels, card.input) == (["a", "b", "c", "d"], InputSpec(height=9, width=12, resize="bicubic"))
    call("import", path, "--preprocess", "torchvision", "--labels", "a", "b", "c", "d", "--name", "other")
    assert store.get("other").card.labels == ["a", "b", "c", "d"]


@pytest.mark.parametrize("labels", [["a"], ["a", "a", "b", "c"]])
def test_labels_are_two_or_more_and_different(tmp_path: Path, labels: list[str]) -> None:
    with pytest.raises(UsageError, match="--labels takes two or more different labels"):
        call("import", foreign(tmp_path / "model.onnx"), "--labels", *labels, "--preprocess", "tf")


def test_a_file_whose_name_can_t_be_a_models_needs_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be a model's name"):
        call("import", foreign(tmp_path / "2 models.onnx"), "--labels", "a", "b", "--preprocess", "tf")


@pytest.mark.parametrize("line", ["models optimize cnn", "models import x.onnx", "train cnn", "export run"])
def test_what_needs_the_environment_for_training_says_how_to_make_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    monkeypatch.setattr(parallax, "find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "argv", ["parallax", *line.split()])
    with pytest.raises(SystemExit, match="2"):
        parallax.main()
    assert f"make train-env && .venv-train/bin/parallax {line}" in capsys.readouterr().err


def test_what_serving_needs_of_models_needs_no_such_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parallax, "find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "argv", ["parallax", "models", "list"])
    with pytest.raises(SystemExit, match="0"):
        parallax.main()
    assert "holds no model" in " ".join(capsys.readouterr().out.split())

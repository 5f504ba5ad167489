"""What was registered comes back as it was, or not at all."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.errors import BrokenModel, GoldenMismatch, UnknownModel, UsageError
from models.metadata import CARD_FILE, Accuracy, DataFile, Precision, TestResult, file_sha256
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from models.soundness import check
from tests.support.models import tiny_model, write_graph
from training.tracking.journal import Journal
from training.tracking.pull import _card, pull
from training.tracking.push import push
from training.tracking.registry import pack
from training.tracking.server import TrackingError, connect, local_folder

IMAGES = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)


def kept(name: str, number: str = "1") -> Path:
    """Where the local store keeps the files of a registered version."""
    return Path(connect().get_model_version(name, number).source.removeprefix("file://"))


def registered(store: Repository, name: str, **how: object) -> StoredModel:
    stored = tiny_model(store.root, name, **how)  # type: ignore[arg-type]
    assert push(stored, store.root / "no runs") == "1"
    return stored


def test_a_registered_model_comes_back_with_all_its_variants(store: Repository, other: Repository) -> None:
    stored = registered(store, "round", precisions=("fp32", "int8"))
    found = pull("models:/round/1", other)
    assert found.folder == other.root / "round" / "1"
    assert found.card == stored.card
    assert check(found) == 0
    assert (found.folder / "CARD.md").read_bytes() == (stored.folder / "CARD.md").read_bytes()
    for variant in stored.card.variants:
        here, there = (OnnxModel(one.folder / variant.file, threads=1).run(IMAGES) for one in (stored, found))
        np.testing.assert_array_equal(there, here)
    assert sorted(path.name for path in other.root.iterdir()) == ["round"], "nothing is left over"


def test_it_becomes_the_next_version_unless_it_is_there(store: Repository, other: Repository) -> None:
    registered(store, "next")
    tiny_model(other.root, "next", sharpness=9)
    assert pull("models:/next/1", other).card.version == "2"
    assert pull("models:/next/latest", other).card.version == "2", "the same once more"
    assert pull("models:/next/1", other, name="renamed").folder == other.root / "renamed" / "1"


def test_what_test_sets_have_said_since_comes_to_a_version_that_is_there(store: Repository, other: Repository) -> None:
    stored = registered(store, "tested", precisions=("fp32", "int8"))
    pull("models:/tested/1", other)
    seen = [record("set-1.zip", 1), record("set-2.zip", 2, precisions=("fp32", "int8"))]
    store.update(stored.card.tested(seen))
    assert push(store.get("tested"), store.root / "no runs") == "2"
    other.update(other.get("tested").card.tested([record("set-2.zip", 2, 0.25)]))
    found = pull("models:/tested/2", other).card
    assert [(test.data.name, {name: one.value for name, one in test.accuracy.items()}) for test in found.tests] == [
        ("set-1.zip", {"fp32": 0.5}),
        ("set-2.zip", {"fp32": 0.25, "int8": 0.5}),
    ], "what was measured here is kept"
    assert [variant.test_accuracy for variant in found.variants] == [0.5, None], "of the first test set that it met"
    assert (found.version, other.get("tested").card) == ("1", found)
    assert pull("models:/tested/2", other).card == found


def record(name: str, number: int, value: float = 0.5, precisions: Sequence[Precision] = ("fp32",)) -> TestResult:
    data = DataFile(name=name, sha256=f"{number:064x}", images=8)
    accuracy = Accuracy(value=value, low=0.1, high=0.9, correct=round(8 * value), images=8)
    return TestResult(data=data, accuracy=dict.fromkeys(precisions, accuracy), evaluated=datetime(2026, 1, number, tzinfo=UTC))


def test_aliases_and_runs_are_addresses_too(store: Repository, other: Repository) -> None:
    registered(store, "alias")
    client = connect()
    client.set_registered_model_alias("alias", "champion", "1")
    assert pull("models:/alias@champion", other).card.name == "alias"
    version = client.get_model_version("alias", "1")
    assert pull(f"runs:/{version.run_id}/{kept('alias').name}", other, name="by-run").card.name == "by-run"


def test_what_is_registered_stays_as_it_is_when_the_version_changes(store: Repository, other: Repository) -> None:
    stored = registered(store, "changes")
    assert push(stored, store.root) == "1", "it is registered already"
    store.update(stored.card.model_copy(update={"labels": ["night", "day"]}))
    assert push(store.get("changes"), store.root) == "2"
    assert pull("models:/changes/1", other).card.labels == ["dark", "bright"]


def test_other_labels_under_a_name_are_refused(store: Repository, other: Repository) -> None:
    registered(store, "labels")
    tiny_model(other.root, "labels", ("night", "day"))
    with pytest.raises(UsageError, match="labels names night, day; this data has dark, bright"):
        pull("models:/labels/1", other)


def test_an_altered_file_is_refused(store: Repository, other: Repository) -> None:
    registered(store, "altered")
    path = kept("altered") / "parallax" / "model.onnx"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BrokenModel, match=r"model\.onnx is not the file that altered's card describes"):
        pull("models:/altered/1", other)
    path.unlink()
    with pytest.raises(BrokenModel, match=r"model\.onnx, which the card of altered names, was not fetched"):
        pull("models:/altered/1", other)
    assert not list(other.root.iterdir())


def test_another_network_than_the_golden_vectors_know_is_refused(store: Repository, other: Repository) -> None:
    registered(store, "forged")
    folder = kept("forged") / "parallax"
    write_graph(folder / "model.onnx", 2, sharpness=-20)
    card = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    card["variants"][0]["sha256"] = file_sha256(folder / "model.onnx")
    (folder / CARD_FILE).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(GoldenMismatch):
        pull("models:/forged/1", other)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b.onnx"])
def test_a_card_that_points_elsewhere_is_refused(store: Repository, other: Repository, name: str) -> None:
    word = "path" + str(abs(hash(name)))[:6]
    registered(store, word)
    path = kept(word) / "parallax" / CARD_FILE
    card = json.loads(path.read_text(encoding="utf-8"))
    card["variants"][0]["file"] = name
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(BrokenModel, match=r"model\.json of .* can't be read"):
        pull(f"models:/{word}/1", other)


@pytest.mark.parametrize("what", ["parallax/CARD.md", "parallax"])
def test_a_link_in_the_server_s_files_is_not_followed(store: Repository, other: Repository, tmp_path: Path, what: str) -> None:
    name = f"link{len(what)}"
    registered(store, name)
    path = kept(name) / what
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrackingError, match="outside"):
        pull(f"models:/{name}/1", other)


@pytest.mark.parametrize("what", ["parallax", "parallax/CARD.md"])
def test_a_link_among_fetched_files_is_refused(store: Repository, tmp_path: Path, what: str) -> None:
    pack(tiny_model(store.root), tmp_path / "packed")
    path = tmp_path / "packed" / what
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BrokenModel, match="is a link"):
        _card("models:/tiny/1", tmp_path / "packed" / "parallax")


def test_a_model_of_others_is_refused_with_the_way_to_import_it(store: Repository, other: Repository) -> None:
    journal = Journal.open("foreign", experiment="foreign")
    with journal.folder("model") as folder:
        pack(tiny_model(store.root), folder)
        shutil.rmtree(folder / "parallax")
    client = connect()
    client.create_registered_model("foreign")
    client.create_model_version("foreign", f"runs:/{journal.run_id}/model", journal.run_id)
    with pytest.raises(UsageError, match=r"was not registered by Parallax.*parallax models import"):
        pull("models:/foreign/1", other)


@pytest.mark.parametrize("address", ["models:/round/77", "models:/nobody/1", "models:/nobody@best", "runs:/0123/model"])
def test_what_is_not_there_is_said(other: Repository, address: str) -> None:
    with pytest.raises(UnknownModel, match=f"there is no {address} at sqlite:"):
        pull(address, other)


@pytest.mark.parametrize("address", ["round", "models:/round", "models:/", "file:///etc", "s3://bucket/model", "runs:/abc"])
def test_only_addresses_of_registered_models_and_runs_are_taken(other: Repository, address: str) -> None:
    with pytest.raises(UsageError, match="say models:/NAME/VERSION"):
        pull(address, other)


def test_a_server_that_is_not_there_is_said(other: Repository, no_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", no_server)
    with pytest.raises(TrackingError, match=r"can't be fetched from http://127\.0\.0\.1:9:"):
        pull("models:/round/1", other)


def test_a_scheme_without_its_plugin_says_what_to_install(other: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tracking.server.entry_points", lambda group: ())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "azureml://eastus.api.azureml.ms/mlflow/v1.0/subscriptions/0")
    with pytest.raises(TrackingError, match=r"azureml://.*make train-env EXTRAS=azure"):
        pull("models:/round/1", other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "carrier-pigeon://coop")
    with pytest.raises(TrackingError, match=r"carrier-pigeon://.*the plugin for MLflow that knows it"):
        pull("models:/round/1", other)


def test_the_packed_model_keeps_the_contract_for_mlflow_s_own_tools(store: Repository, tmp_path: Path) -> None:
    from mlflow.models import Model

    stored = tiny_model(store.root, precisions=("int8",), height=24)
    pack(stored, tmp_path / "packed")
    model = Model.load(str(tmp_path / "packed"))
    assert [(one.name, str(one.type), one.shape) for one in model.signature.inputs] == [("image", "uint8", (-1, 24, 32, 3))]
    assert [(one.name, str(one.type), one.shape) for one in model.signature.outputs] == [("scores", "float32", (-1, 2))]
    assert model.load_input_example(str(tmp_path / "packed"))["image"].shape == (1, 24, 32, 3)
    onnx.checker.check_model(str(tmp_path / "packed" / "model.onnx"))
    scores = OnnxModel(tmp_path / "packed" / "model.onnx", threads=1).run(IMAGES[:, :24])
    np.testing.assert_array_equal(scores, OnnxModel(stored.folder / "model.int8.onnx", threads=1).run(IMAGES[:, :24]))


def test_the_store_of_the_tests_is_where_it_should_be(home: Path) -> None:
    assert local_folder() == home / "mlflow"

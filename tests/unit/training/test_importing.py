"""A classifier of any origin becomes a version that keeps the contract, or is refused before anything is written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import golden
from models.errors import UsageError
from models.metadata import Precision
from models.repository import Repository
from models.runtime import OnnxModel
from tests.support.models import tiny_model
from tests.unit.training.hand_made import CLASSES, HEIGHT, IMAGES, WIDTH, dark_and_bright, expected, foreign, layered
from training.importing import import_onnx, precision_of
from training.quantize import to_fp16, to_int8

LABELS = ["a", "b", "c", "d"]


@pytest.fixture
def store(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "store")


def bring(store: Repository, path: Path, *words: str, labels: list[str] = LABELS) -> Path:
    return import_onnx(path, "foreign", labels, words, store)


@pytest.mark.parametrize(
    ("kind", "precision", "tolerance"), [(TensorProto.FLOAT, "fp32", 1e-5), (TensorProto.FLOAT16, "fp16", 2e-3)]
)
def test_it_becomes_a_sound_version_that_answers_as_declared(
    store: Repository, tmp_path: Path, kind: int, precision: Precision, tolerance: float
) -> None:
    path = foreign(tmp_path / "Their Model.onnx", "nchw", kind, logits=True)
    folder = bring(store, path, "colours=bgr", "range=-1..1", "scores=logits", "resize=bicubic")
    (stored,) = store.scan().models
    assert (folder, stored.card.name, stored.card.version) == (stored.folder, "foreign", "1")
    stored.verify()
    (variant,) = stored.card.variants
    assert variant.precision == precision
    assert variant.size_bytes == (folder / variant.file).stat().st_size
    assert stored.card.labels == LABELS
    assert (stored.card.input.height, stored.card.input.width, stored.card.input.resize) == (HEIGHT, WIDTH, "bicubic")
    assert (stored.card.training, stored.card.keras) == (None, None)
    model = OnnxModel(folder / variant.file, threads=1)
    np.testing.assert_allclose(model.run(IMAGES), expected(IMAGES, "nchw", "bgr", 2 / 255, -1, 0, 1, kind), atol=tolerance)
    assert golden.check(folder / "golden.npz", stored.card.input, precision, model.run, model.provider) == 0
    text = (folder / "CARD.md").read_text(encoding="utf-8")
    assert text.startswith("# foreign\n")
    assert "`Their Model.onnx`" in text
    assert "colours=bgr range=-1..1 resize=bicubic scores=logits" in text
    assert str(tmp_path) not in text
    assert [path.name for path in store.root.iterdir()] == ["foreign"], "no workspace is left"


def test_weights_beside_the_file_come_with_it(store: Repository, tmp_path: Path) -> None:
    path = foreign(tmp_path / "model.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert (tmp_path / "model.data").exists()
    folder = bring(store, path)
    np.testing.assert_allclose(
        OnnxModel(folder / "model.onnx", threads=1).run(IMAGES),
        expected(IMAGES, "nchw", "rgb", 1 / 255, 0, 0, 1, TensorProto.FLOAT),
        atol=1e-5,
    )
    (tmp_path / "model.data").unlink()
    with pytest.raises(UsageError, match=r"model\.onnx keeps its weights in model\.data, which must lie beside it"):
        bring(store, path)


def fixed_batch(path: Path) -> Path:
    """As many exporters write it: for one image, which its reshaping holds on to."""
    model = onnx.load(foreign(path))
    place = next(number for number, node in enumerate(model.graph.node) if node.op_type == "Flatten")
    flat = model.graph.node[place]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 3 * HEIGHT * WIDTH], np.int64), "shape"))
    model.graph.node[place].CopyFrom(helper.make_node("Reshape", [flat.input[0], "shape"], list(flat.output)))
    onnx.save(model, path)
    return path


def mixes_a_batch(path: Path) -> Path:
    """What it says of an image depends on the others."""
    model = onnx.load(foreign(path))
    place = next(number for number, node in enumerate(model.graph.node) if node.op_type == "Softmax")
    model.graph.node[place].attribute[0].i = 0
    onnx.save(model, path)
    return path


def no_numbers(path: Path) -> Path:
    model = onnx.load(foreign(path, logits=True))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((3 * HEIGHT * WIDTH, CLASSES), np.nan, np.float32), "w"))
    onnx.save(model, path)
    return path


def text(path: Path) -> Path:
    path.write_text("no graph")
    return path


def plain(path: Path) -> Path:
    return foreign(path)


def of_logits(path: Path) -> Path:
    return foreign(path, logits=True)


@pytest.mark.parametrize(
    ("make", "words", "labels", "reason"),
    [
        (text, [], LABELS, "is no ONNX model that can be read"),
        (plain, [], LABELS[:3], "the network gives 4 scores for 3 labels"),
        (plain, ["scores=logits"], LABELS, "the network's output is probabilities already; .*: say scores=softmax"),
        (of_logits, [], LABELS, "is no distribution of probabilities: say scores=logits"),
        (no_numbers, ["scores=logits"], LABELS, "answers with what is no number"),
        (fixed_batch, [], LABELS, "takes one image at a time; export it with a batch of any size"),
        (mixes_a_batch, ["output=raw", "scores=logits", "layout=nhwc", "size=9x12"], LABELS, "channels as nhwc"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_does_not_fit_is_refused_and_the_store_stays_as_it_was(
    store: Repository,
    tmp_path: Path,
    make: Any,  # noqa: ANN401
    words: list[str],
    labels: list[str],
    reason: str,
) -> None:
    with pytest.raises(UsageError, match=reason):
        bring(store, make(tmp_path / "model.onnx"), *words, labels=labels)
    assert store.names() == []
    assert not store.root.exists() or list(store.root.iterdir()) == []


def test_one_whose_answers_depend_on_the_neighbours_is_refused(store: Repository, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="answers otherwise for a batch than for its images one by one"):
        bring(store, mixes_a_batch(tmp_path / "model.onnx"))


def test_a_name_that_is_taken_by_other_labels_is_refused_before_the_file_is_read(store: Repository, tmp_path: Path) -> None:
    tiny_model(store.root, "foreign")
    with pytest.raises(UsageError, match="foreign names dark, bright; this data has a, b, c, d"):
        bring(store, tmp_path / "is not there.onnx")


def test_the_precision_is_that_of_the_weights(tmp_path: Path) -> None:
    source = layered(tmp_path / "model.onnx")
    to_int8(source, tmp_path / "int8.onnx", dark_and_bright().pixels[:8])
    to_fp16(source, tmp_path / "fp16.onnx")
    found = [precision_of(onnx.load(tmp_path / name)) for name in ("model.onnx", "int8.onnx", "fp16.onnx")]
    assert found == ["fp32", "int8", "fp16"]


def test_what_was_imported_can_be_optimised_too(store: Repository, tmp_path: Path) -> None:
    folder = bring(store, foreign(tmp_path / "model.onnx"))
    to_int8(folder / "model.onnx", tmp_path / "int8.onnx", IMAGES)
    to_fp16(folder / "model.onnx", tmp_path / "fp16.onnx")
    for name, tolerance in (("int8.onnx", 0.05), ("fp16.onnx", 5e-3)):
        scores = OnnxModel(tmp_path / name, threads=1).run(IMAGES)
        np.testing.assert_allclose(scores, OnnxModel(folder / "model.onnx", threads=1).run(IMAGES), atol=tolerance)

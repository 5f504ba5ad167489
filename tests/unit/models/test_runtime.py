"""Only files that keep the contract run."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import BrokenModel
from models.runtime import CPU, OnnxModel
from tests.support.models import write_graph


def identity(path: Path, source: str, target: str, kind: int) -> Path:
    """A model that gives back what it gets."""
    graph = helper.make_graph(
        [helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT if kind == TensorProto.UINT8 else kind)],
        "identity",
        [helper.make_tensor_value_info(source, kind, ["N", 8])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT if kind == TensorProto.UINT8 else kind, ["N", 8])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [("input", "scores", TensorProto.UINT8), ("image", "output", TensorProto.UINT8), ("image", "scores", TensorProto.FLOAT)],
)
def test_a_file_of_other_names_or_types_is_broken(tmp_path: Path, source: str, target: str, kind: int) -> None:
    path = identity(tmp_path / "model.onnx", source, target, kind)
    with pytest.raises(BrokenModel, match=r"model\.onnx must map uint8 'image' to float32 'scores'; it has"):
        OnnxModel(path, threads=1)
    OnnxModel(identity(path, "image", "scores", TensorProto.UINT8), threads=1)


@pytest.mark.parametrize("content", [None, b"", b"not a model"], ids=["missing", "empty", "text"])
def test_a_file_that_is_no_model_is_broken(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenModel, match=r"model\.onnx"):
        OnnxModel(path, threads=1)


def test_it_tells_its_provider_and_its_number_of_classes(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", 3)
    model = OnnxModel(tmp_path / "model.onnx", threads=2)
    assert (model.provider, model.classes) == (CPU[0], 3)


def test_any_number_of_images_gets_as_many_rows_of_scores(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", 3)
    model = OnnxModel(tmp_path / "model.onnx", threads=1)
    images = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)
    scores = model.run(images)
    assert (scores.shape, scores.dtype.name) == ((5, 3), "float32")
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    for image, row in zip(images, scores, strict=True):
        np.testing.assert_allclose(model.run(image[np.newaxis])[0], row, atol=1e-6)


def test_several_threads_may_run_it_at_once(tmp_path: Path) -> None:
    write_graph(tmp_path / "model.onnx", 3)
    model = OnnxModel(tmp_path / "model.onnx", threads=1)
    images = np.random.default_rng(1).integers(0, 256, (64, 1, 32, 32, 3), np.uint8)
    alone = [model.run(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.run, images))
    np.testing.assert_array_equal(together, alone)

"""Images of a batch that are inferred one after the other, in one call."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from models.metadata import INPUT_NAME, OUTPUT_NAME
from models.one_by_one import OLDEST_OPSET, in_single_images
from models.repository import Repository
from models.runtime import OnnxModel
from tests.support.models import write_graph

STORED = [
    (stored.folder / variant.file, stored.card.input)
    for stored in Repository(Path(__file__).parents[3] / "models" / "store").scan().models
    for variant in stored.card.variants
]


def looks_at_its_batch(path: Path, opset: int = OLDEST_OPSET, source: str = INPUT_NAME) -> Path:
    """A model whose scores are how many images it sees at a time."""
    graph = helper.make_graph(
        [
            helper.make_node("Shape", [source], ["shape"]),
            helper.make_node("Gather", ["shape", "first"], ["count"], axis=0),
            helper.make_node("Cast", ["count"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [source], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["pixels", "nothing"], ["zeros"]),
            helper.make_node("Add", ["zeros", "number"], [OUTPUT_NAME]),
        ],
        "counting",
        [helper.make_tensor_value_info(source, TensorProto.UINT8, ["N", 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor("first", TensorProto.INT64, [1], [0]), helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), str(path))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(path, 3)
    return path


@given(count=st.integers(1, 9), seed=st.integers(0, 99))
def test_scores_are_those_of_single_images_to_the_bit(path: Path, count: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)
    plain, single = OnnxModel(path, threads=1), OnnxModel(path, threads=1, one_by_one=True)
    assert (plain.one_by_one, single.one_by_one, single.classes) == (False, True, 3)
    np.testing.assert_array_equal(single.run(images), np.concatenate([plain.run(image[None]) for image in images]))


@pytest.mark.parametrize(("path", "spec"), STORED, ids=[f"{path.parts[-3]} {path.name}" for path, _ in STORED])
def test_so_are_those_of_the_models_that_are_shipped(path: Path, spec: object) -> None:
    height, width = (getattr(spec, side) for side in ("height", "width"))
    images = np.random.default_rng(1).integers(0, 256, (3, height, width, 3), np.uint8)
    plain, single = OnnxModel(path, threads=1), OnnxModel(path, threads=1, one_by_one=True)
    assert single.one_by_one
    np.testing.assert_array_equal(single.run(images), np.concatenate([plain.run(image[None]) for image in images]))


def test_the_network_sees_one_image_at_a_time(tmp_path: Path) -> None:
    path, images = looks_at_its_batch(tmp_path / "model.onnx"), np.zeros((5, 3), np.uint8)
    assert OnnxModel(path, threads=1).run(images).tolist() == [[5.0] * 3] * 5
    assert OnnxModel(path, threads=1, one_by_one=True).run(images).tolist() == [[1.0] * 3] * 5


def test_a_file_whose_operators_are_too_old_runs_as_it_is(tmp_path: Path) -> None:
    model = OnnxModel(looks_at_its_batch(tmp_path / "model.onnx", OLDEST_OPSET - 1), threads=1, one_by_one=True)
    assert not model.one_by_one
    assert model.run(np.zeros((5, 3), np.uint8)).tolist() == [[5.0] * 3] * 5


def test_weights_beside_the_file_come_along_and_where_they_are_gone_its_loader_says_so(tmp_path: Path, path: Path) -> None:
    apart = tmp_path / "apart.onnx"
    onnx.save_model(onnx.load(path), str(apart), save_as_external_data=True, location="weights.bin", size_threshold=0)
    images = np.full((2, 32, 32, 3), 200, np.uint8)
    model = OnnxModel(apart, threads=1, one_by_one=True)
    assert model.one_by_one
    np.testing.assert_array_equal(model.run(images), OnnxModel(path, threads=1).run(images))
    (tmp_path / "weights.bin").unlink()
    assert in_single_images(apart) is None


@pytest.mark.parametrize("content", [None, b"", b"not a model"], ids=["missing", "empty", "text"])
def test_what_is_no_model_is_left_to_its_loader(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    assert in_single_images(tmp_path / "model.onnx") is None


def test_so_is_what_does_not_keep_the_contract(tmp_path: Path) -> None:
    assert in_single_images(looks_at_its_batch(tmp_path / "model.onnx", source="input")) is None

"""Images of a batch that are inferred one after the other, in one call."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.metadata import INPUT_NAME, OUTPUT_NAME
from models.one_by_one import OLDEST_OPSET, write_in_single_images
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
    for content in (b"cut off", None):
        (tmp_path / "weights.bin").unlink()
        if content is not None:
            (tmp_path / "weights.bin").write_bytes(content)
        assert not write_in_single_images(apart, tmp_path / "target.onnx")


@pytest.mark.parametrize("content", [None, b"", b"not a model"], ids=["missing", "empty", "text"])
def test_what_is_no_model_is_left_to_its_loader(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    assert not write_in_single_images(tmp_path / "model.onnx", tmp_path / "target.onnx")


def test_so_is_what_does_not_keep_the_contract(tmp_path: Path) -> None:
    assert not write_in_single_images(looks_at_its_batch(tmp_path / "model.onnx", source="input"), tmp_path / "target.onnx")


def chooses(path: Path) -> Path:
    """A model with a graph inside: its scores are the pixels if the first image is dark, else a constant of the outer graph."""
    scores = [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", 3])]

    def branch(source: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("Add", [source, "constant"], [f"of_{source}"])],
            f"branch_{source}",
            [],
            [helper.make_tensor_value_info(f"of_{source}", TensorProto.FLOAT, None)],
        )

    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "nothing"], ["zeros"]),
        helper.make_node("ReduceMax", ["pixels"], ["brightest"], keepdims=0),
        helper.make_node("Less", ["brightest", "limit"], ["is_dark"]),
        helper.make_node("If", ["is_dark"], [OUTPUT_NAME], then_branch=branch("pixels"), else_branch=branch("zeros")),
    ]
    constants = {"constant": [0.5], "nothing": [0.0], "limit": 100.0}
    graph = helper.make_graph(
        nodes,
        "choosing",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", 3])],
        scores,
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_graphs_inside_the_graph_still_find_its_constants_and_each_image_is_chosen_for_by_itself(tmp_path: Path) -> None:
    model = OnnxModel(chooses(tmp_path / "model.onnx"), threads=1, one_by_one=True)
    assert model.one_by_one
    assert model.run(np.array([[1, 2, 3], [4, 5, 200], [6, 7, 8]], np.uint8)).tolist() == [
        [1.5, 2.5, 3.5],
        [0.5] * 3,
        [6.5, 7.5, 8.5],
    ]


def test_what_does_not_load_once_it_is_wrapped_runs_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_path: Path, target: Path) -> bool:
        target.write_bytes(b"no model")
        return True

    monkeypatch.setattr("models.runtime.write_in_single_images", write)
    model = OnnxModel(path, threads=1, one_by_one=True)
    assert (model.one_by_one, model.classes) == (False, 3)


def test_so_does_every_model_where_there_is_no_place_for_temporary_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_options: str) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("models.runtime.TemporaryDirectory", nowhere)
    model = OnnxModel(path, threads=1, one_by_one=True)
    assert (model.one_by_one, model.classes) == (False, 3)

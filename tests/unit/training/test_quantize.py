"""Variants keep the contract, and their arithmetic is what it is meant to be."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from models.runtime import OnnxModel
from tests.unit.training.hand_made import SIDE, dark_and_bright, layered
from training.quantize import _front, to_fp16, to_int8

DATA = dark_and_bright()
IMAGES = DATA.pixels[DATA.validation]


def scores(path: Path) -> np.ndarray:
    return OnnxModel(path, threads=1).run(IMAGES)  # which checks names and types


def makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {output: node for node in graph.node for output in node.output}


def weights(graph: onnx.GraphProto, kind: type) -> list[np.ndarray]:
    arrays = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
    return [array for array in arrays if array.dtype == kind and array.ndim]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return layered(tmp_path / "model.onnx")


def test_int8_answers_as_fp32_does_but_for_rounding(source: Path, tmp_path: Path) -> None:
    to_int8(source, tmp_path / "int8.onnx", DATA.pixels[:20])
    difference = np.abs(scores(tmp_path / "int8.onnx") - scores(source))
    assert 0 < difference.max() < 0.05
    assert np.abs(scores(tmp_path / "int8.onnx").sum(axis=1) - 1).max() < 1e-6


def test_int8_has_weights_of_seven_bits_a_scale_for_each_channel_and_unsigned_activations(source: Path, tmp_path: Path) -> None:
    to_int8(source, tmp_path / "int8.onnx", DATA.pixels[:20], float_layers=0)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    convolutions = [array for array in weights(graph, np.int8) if array.ndim == 4]
    assert len(convolutions) == 3
    assert {int(np.abs(array).max()) for array in convolutions} <= {63, 64}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert constants[node.input[2]].dtype == np.uint8
            assert constants[node.input[1]].ndim == 0
        if node.op_type == "DequantizeLinear" and node.input[0] in constants and constants[node.input[0]].ndim == 4:
            assert constants[node.input[1]].shape == (2,)


def test_probabilities_are_made_in_float_from_what_the_last_layer_gives(tmp_path: Path) -> None:
    to_int8(layered(tmp_path / "model.onnx", mirrored=True), tmp_path / "int8.onnx", DATA.pixels[:20])
    graph = onnx.load(tmp_path / "int8.onnx").graph
    after = [node.op_type for node in graph.node][[node.op_type for node in graph.node].index("Gemm") :]
    assert sorted(after) == ["Add", "Gemm", "Mul", "Softmax", "Softmax"]


@pytest.mark.parametrize(("float_layers", "quantized"), [(0, 4), (1, 3), (2, 2), (9, 2)])
def test_layers_at_the_input_stay_in_float_yet_half_at_most(
    source: Path, tmp_path: Path, float_layers: int, quantized: int
) -> None:
    to_int8(source, tmp_path / "int8.onnx", DATA.pixels[:20], float_layers=float_layers)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    made = makers(graph)
    layers = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    fed = [getattr(made.get(node.input[1]), "op_type", "") == "DequantizeLinear" for node in layers]
    assert fed == [False] * (len(fed) - quantized) + [True] * quantized
    np.testing.assert_allclose(scores(tmp_path / "int8.onnx"), scores(source), atol=0.05)


def test_of_networks_side_by_side_each_has_its_own_front_in_float() -> None:
    nodes = [helper.make_node("Cast", ["image"], ["pixels"], name="cast", to=1)]
    for number in range(4):  # one branch after the other, as a sorted graph may have them
        for branch in "ab":
            given = f"{branch}{number - 1}" if number else "pixels"
            nodes.append(helper.make_node("Conv", [given, "w"], [f"{branch}{number}"], name=f"{branch}{number}"))
    nodes.sort(key=lambda node: (node.name[0] == "b", node.name != "cast"))
    graph = helper.make_graph(nodes, "two", [], [])
    assert set(_front(graph, 1)) == {"cast", "a0", "b0"}
    assert set(_front(graph, 9)) == {"cast", "a0", "b0", "a1", "b1"}


def test_int8_takes_its_ranges_from_the_images_that_it_is_given(source: Path, tmp_path: Path) -> None:
    dark = DATA.pixels[DATA.targets == DATA.labels.index("dark")]
    to_int8(source, tmp_path / "int8.onnx", dark)
    bright = scores(tmp_path / "int8.onnx")[DATA.targets[DATA.validation] == DATA.labels.index("bright")]
    assert (bright[:, 0] > 0.5).all(), "what is brighter than all that it saw is cut off"


@pytest.mark.parametrize("mirrored", [False, True])
def test_fp16_computes_in_half_floats_and_takes_and_gives_what_fp32_does(tmp_path: Path, mirrored: bool) -> None:
    source = layered(tmp_path / "model.onnx", mirrored=mirrored)
    to_fp16(source, tmp_path / "fp16.onnx")
    difference = np.abs(scores(tmp_path / "fp16.onnx") - scores(source))
    assert 0 < difference.max() < 5e-3
    graph = onnx.load(tmp_path / "fp16.onnx").graph
    assert weights(graph, np.float32) == []
    assert len([array for array in weights(graph, np.float16) if array.ndim == 4]) == 3
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "fp16.onnx")).graph.value_info
    }
    softmax = [node for node in graph.node if node.op_type == "Softmax"]
    assert {types[node.input[0]] for node in softmax} == {onnx.TensorProto.FLOAT}
    assert np.abs(scores(tmp_path / "fp16.onnx").sum(axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("batch", [1, 3])
def test_variants_take_batches_of_any_size(source: Path, tmp_path: Path, batch: int) -> None:
    to_int8(source, tmp_path / "int8.onnx", DATA.pixels[:20])
    to_fp16(source, tmp_path / "fp16.onnx")
    for name in ("int8.onnx", "fp16.onnx"):
        assert OnnxModel(tmp_path / name, threads=1).run(np.zeros((batch, SIDE, SIDE, 3), np.uint8)).shape == (batch, 2)

"""The means of int8 layers are those of the layers that they were made of."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

from tests.unit.training.hand_made import dark_and_bright, layered
from training import quantize
from training.bias import BIASED, correct_biases

DATA = dark_and_bright()
IMAGES = DATA.pixels[:40]


def biases(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The constants of every layer's bias, the input's first."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    maker = {node.output[0]: node for node in model.graph.node}
    names = [node.input[2] for node in model.graph.node if node.op_type in BIASED]
    return [constants[maker[name].input[0] if name in maker else name] for name in names]


@pytest.mark.parametrize("float_layers", [0, 2])
def test_biases_that_are_off_come_back_to_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, float_layers: int
) -> None:
    """Layer by layer: those behind one that is off are off as well, and must not be corrected for what it did."""
    source, exact = layered(tmp_path / "model.onnx"), tmp_path / "exact.onnx"
    quantize.to_int8(source, tmp_path / "right.onnx", IMAGES, float_layers=float_layers)
    right = [numpy_helper.to_array(tensor) for tensor in biases(onnx.load(tmp_path / "right.onnx"))]
    quant_pre_process(source, exact, skip_symbolic_shape=True)

    def disturbed(model: onnx.ModelProto, quantized: onnx.ModelProto, images: np.ndarray) -> None:
        for tensor in biases(quantized):
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(array + np.int32(3000), tensor.name))
        correct_biases(model, quantized, images)

    monkeypatch.setattr(quantize, "correct_biases", disturbed)
    quantize.to_int8(source, tmp_path / "again.onnx", IMAGES, float_layers=float_layers)
    again = biases(onnx.load(tmp_path / "again.onnx"))
    assert len({tensor.name for tensor in again}) == len(again) == 4, "each has its own, though three were the same zeros"
    for before, after in zip(right, map(numpy_helper.to_array, again), strict=True):
        assert np.abs(after - before).max() <= 30

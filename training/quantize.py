"""An fp32 version's file -> int8 and fp16 files that keep the same contract."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from models.metadata import INPUT_NAME
from training.bias import correct_biases
from training.graphs import WEIGHTED, read_graph, tail, write_graph

CALIBRATION_BATCH = 8
LEFT_IN_FLOAT = frozenset({"Softmax"})
"""In 256 steps a probability of one in a thousand is none at all."""
FLOAT_LAYERS = 2
"""At the input stay in float: few weights meet wide ranges there, and few channels leave the units for int8 half empty, so that
float is nearer to the truth and not slower."""


def to_int8(source: Path, target: Path, images: npt.NDArray[np.uint8], *, float_layers: int = FLOAT_LAYERS) -> None:
    """Write a static QDQ model, its ranges taken from `images`: uint8 RGB [N,H,W,3] like those it will see.

    Activations are uint8 and weights int8, a scale for each channel, in 7 bits: a processor without VNNI adds pairs of products
    in 16 bits, where full weights overflow (255 x 127 x 2) and those of 7 bits don't (255 x 64 x 2). So answers are the same on
    every processor. What rounding adds to the layers' means is taken back (`bias`). `float_layers`: so many layers at the input
    stay in float, half of a network that has fewer than twice as many.
    """
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)  # fuses batch norm into the convolutions
        model = onnx.load(prepared)
        for number, node in enumerate(model.graph.node):
            node.name = node.name or f"node_{number}"  # nodes are excluded by name
        onnx.save(model, prepared)
        quantized = Path(folder) / "quantized.onnx"
        with redirect_stdout(io.StringIO()):
            quantize_static(
                prepared,
                quantized,
                _Calibration(images),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                op_types_to_quantize=sorted(set(QDQRegistry) - LEFT_IN_FLOAT),
                nodes_to_exclude=[*_front(model.graph, float_layers), *(node.name for node in tail(model.graph))],
            )
        exact, model = onnx.load(prepared), onnx.load(quantized)
        correct_biases(exact, model, images)
        _keep_logits(model.graph)
        write_graph(model, target)


def to_fp16(source: Path, target: Path) -> None:
    """Write a model that computes in float16 up to its last layer's output, and takes and gives what it did before."""
    model = onnx.shape_inference.infer_shapes(read_graph(source))
    graph = model.graph
    output, last = list(graph.output), tail(graph)
    for node in last:
        graph.node.remove(node)
    made = {name for node in graph.node for name in node.output}
    cut = {name for node in last for name in node.input if name in made} | {one.name for one in output if one.name in made}
    types = {one.name: one for one in [*graph.value_info, *output]}
    del graph.output[:]
    graph.output.extend(types[name] for name in sorted(cut))
    half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    half.graph.node.extend(last)
    del half.graph.output[:]
    half.graph.output.extend(output)
    write_graph(half, target)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands images over in small batches."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._batches: Iterator[npt.NDArray[np.uint8]] = (
            images[start : start + CALIBRATION_BATCH] for start in range(0, len(images), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


def _keep_logits(graph: onnx.GraphProto) -> None:
    """Take out the steps of 8 bits between the last layer and the softmax: they would show in every probability."""
    steps = {node.output[0]: node.input[0] for node in tail(graph) if node.op_type in {"QuantizeLinear", "DequantizeLinear"}}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = steps.get(steps.get(name, name), name)


def _front(graph: onnx.GraphProto, layers: int) -> list[str]:
    """Names of the nodes behind at most so many layers with weights, or half of them, whichever way leads there.

    The nodes are in topological order. Of networks side by side, each has its own front.
    """
    depths: dict[str, int] = {}
    for node in graph.node:
        depth = max((depths.get(name, 0) for name in node.input), default=0) + (node.op_type in WEIGHTED)
        depths |= dict.fromkeys(node.output, depth)
    layers = min(layers, max(depths.values(), default=0) // 2)
    return [node.name for node in graph.node if depths[node.output[0]] <= layers]

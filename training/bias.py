"""Takes back what int8 adds to a layer's channels on average.

Rounding weights shifts the mean of what a layer gives, channel by channel, and the shifts of many layers add up. Each is
measured on images and subtracted from the bias: the empirical form of bias correction (Nagel, van Baalen, Blankevoort, Welling:
Data-Free Quantization Through Weight Equalization and Bias Correction, ICCV 2019, section 4.2 and appendix D).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from models.machine import usable_cpus
from models.metadata import INPUT_NAME
from training.graphs import prune, sort_nodes
from training.progress import advance_bar, bar

BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
BIAS = 2
"""Its place among the inputs of each."""
IMAGES = 96
"""Enough for means over whole feature maps: three times as many changed nothing."""
BATCH, ALL_BATCH = 16, 2
"""Images of one layer at a time, and of all layers at once, whose outputs take some hundred MB for each image."""

Means = npt.NDArray[np.float64]


def correct_biases(exact: onnx.ModelProto, quantized: onnx.ModelProto, images: npt.NDArray[np.uint8]) -> None:
    """Change the biases of a QDQ model so that every layer's mean is that of `exact`, the model that it was made of.

    `images`: uint8 RGB [N,H,W,3]; the first `IMAGES` count. Layers go in order, each measured behind those that are corrected.
    """
    images = images[:IMAGES]
    names = {node.name: node.output[0] for node in exact.graph.node if node.op_type in BIASED}
    layers = [node for node in quantized.graph.node if node.name in names and len(node.input) > BIAS and node.input[BIAS]]
    if not layers:
        return
    means = _means(exact, [names[node.name] for node in layers], images, ALL_BATCH)
    goals = dict(zip((node.name for node in layers), means, strict=True))
    for layer in layers:
        _give_its_own(quantized.graph, layer)
    sort_nodes(quantized.graph)
    layers = [node for node in quantized.graph.node if node.name in goals]
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    maker = {node.output[0]: node for node in quantized.graph.node}
    with bar("layers") as progress:
        advance = advance_bar(progress, "correct biases", len(layers))
        for layer in layers:
            (mean,) = _means(quantized, [layer.output[0]], images, BATCH)
            _add(constants, maker.get(layer.input[BIAS]), layer.input[BIAS], goals[layer.name] - mean)
            advance()


def _give_its_own(graph: onnx.GraphProto, layer: onnx.NodeProto) -> None:
    """Let a layer have a bias that no other has: equal constants, zeros above all, are kept once."""
    name = layer.input[BIAS]
    if sum(name in node.input for node in graph.node) == 1:
        return
    own = f"{name} of {layer.name}"
    made_by = next((node for node in graph.node if name in node.output), None)
    constant = name if made_by is None else made_by.input[0]
    copy = TensorProto()
    copy.CopyFrom(next(tensor for tensor in graph.initializer if tensor.name == constant))
    copy.name = own if made_by is None else f"{own}, quantized"
    graph.initializer.append(copy)
    if made_by is not None:
        node = graph.node.add()
        node.CopyFrom(made_by)
        node.name, node.input[0], node.output[0] = f"{made_by.name} of {layer.name}", copy.name, own
    layer.input[BIAS] = own


def _add(constants: dict[str, TensorProto], made_by: onnx.NodeProto | None, name: str, shift: Means) -> None:
    """Add to a bias, which is a constant in float, or one of 32 bits with a scale for each channel."""
    scale: npt.NDArray[np.float32] | np.float32 = np.float32(1)
    if made_by is not None:
        name, scale = made_by.input[0], numpy_helper.to_array(constants[made_by.input[1]])
    before = numpy_helper.to_array(constants[name])
    after = before + (shift / scale if made_by is None else np.round(shift / scale))
    constants[name].CopyFrom(numpy_helper.from_array(after.astype(before.dtype), name))


def _means(model: onnx.ModelProto, names: Sequence[str], images: npt.NDArray[np.uint8], batch: int) -> list[Means]:
    """Mean of each tensor [N, channels, ...] over everything but its channels."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    prune(part.graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    totals = [np.zeros(1)] * len(names)
    values = [0] * len(names)
    for start in range(0, len(images), batch):
        for place, output in enumerate(session.run(list(names), {INPUT_NAME: images[start : start + batch]})):
            axes = tuple(axis for axis in range(output.ndim) if axis != 1)
            totals[place] = totals[place] + output.sum(axis=axes, dtype=np.float64)
            values[place] += output.size // output.shape[1]
    return [total / count for total, count in zip(totals, values, strict=True)]

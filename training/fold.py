"""A classifier with its own idea of pixels -> a graph that keeps our contract, its preprocessing inside."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper
from pydantic import ValidationError

from models.errors import UsageError
from models.metadata import INPUT_NAME, OUTPUT_NAME, InputSpec
from training.preprocess import Preprocess

TYPES = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.UINT8: "uint8"}
"""Of a network's input, those that are taken."""

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}

MIN_OPSET = 7
"""Since then Mul and Add broadcast by themselves."""

MIN_IR = 4
"""Since then constants need not be inputs."""

PREFIX = "network/"
"""Before every name of the original, so that none is ours."""


@dataclass(frozen=True)
class _Input:
    name: str
    type: int
    layout: str
    height: int
    width: int


def fold(original: onnx.ModelProto, preprocess: Preprocess, classes: int) -> tuple[onnx.ModelProto, InputSpec]:
    """Put preprocessing before a network and softmax behind it: uint8 `image` [N,H,W,3], RGB -> float32 `scores` [N,classes].

    Returns a new model, and the size that images must have. Raises `UsageError` if the declaration does not fit the graph.
    """
    opset = next((one.version for one in original.opset_import if one.domain in {"", "ai.onnx"}), 0)
    if opset < MIN_OPSET:
        raise UsageError(f"the network speaks opset {opset}; convert it to {MIN_OPSET} or newer (onnx.version_converter)")
    found = _input(original.graph, preprocess)
    output = _output(original.graph, preprocess)
    model = compose.add_prefix(original, PREFIX)
    model.ir_version = max(model.ir_version, MIN_IR)
    graph = model.graph
    before, constants = _before(found, preprocess)
    after = _after(PREFIX + output, preprocess)
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", found.height, found.width, 3]))
    graph.output.append(helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", classes]))
    try:
        return model, InputSpec(height=found.height, width=found.width, resize=preprocess.resize)
    except ValidationError as exc:
        raise UsageError(
            f"images of {found.height} x {found.width} pixels can't be a network's input: {exc.errors()[0]['msg']}"
        ) from exc


def _input(graph: onnx.GraphProto, preprocess: Preprocess) -> _Input:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value.type.tensor_type for value in graph.input if value.name not in constants}
    name = preprocess.input or (next(iter(inputs)) if len(inputs) == 1 else "")
    if name not in inputs:
        raise UsageError(f"--preprocess input={name}: the network's inputs are {', '.join(inputs)}; name the one for the image")
    if len(inputs) > 1:
        others = ", ".join(sorted(inputs.keys() - {name}))
        raise UsageError(f"the network wants {others} beside its image {name}; a classifier takes an image and nothing else")
    tensor = inputs[name]
    if tensor.elem_type not in TYPES:
        kind = TensorProto.DataType.Name(tensor.elem_type)
        raise UsageError(f"the input {name} is of type {kind}; {', '.join(TYPES.values())} are understood")
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    if len(shape) != 4:
        raise UsageError(f"the input {name} has {len(shape)} dimensions; an image has four: batch, colours, height and width")
    layout = preprocess.layout or _layout(name, shape)
    channels, height, width = shape[1:] if layout == "nchw" else (shape[3], *shape[1:3])
    if channels not in (3, None):
        raise UsageError(f"the input {name} has {channels} channels as {layout}; three colours are understood")
    asked = preprocess.size or (height, width)
    if None in asked or height not in (asked[0], None) or width not in (asked[1], None):
        raise UsageError(f"the input {name} is {height or 'any'} x {width or 'any'} (height x width); say size= to match it")
    return _Input(name, tensor.elem_type, layout, int(asked[0] or 0), int(asked[1] or 0))


def _layout(name: str, shape: list[int | None]) -> str:
    found = [layout for layout, place in (("nchw", 1), ("nhwc", 3)) if shape[place] == 3]
    if len(found) != 1:
        raise UsageError(
            f"the shape {shape} of the input {name} does not tell where the colours are: say layout=nchw or layout=nhwc"
        )
    return found[0]


def _output(graph: onnx.GraphProto, preprocess: Preprocess) -> str:
    """The tensor of scores: the one named, or the only one, in front of a ZipMap that would make it a map."""
    if preprocess.output:
        if preprocess.output not in {name for node in graph.node for name in node.output}:
            outputs = ", ".join(value.name for value in graph.output)
            raise UsageError(f"--preprocess output={preprocess.output}: there is no such tensor; the outputs are {outputs}")
        return preprocess.output
    maps = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ZipMap"}
    tensors = [value.name for value in graph.output if value.type.tensor_type.elem_type in FLOATS]
    candidates = [*tensors, *(maps[value.name] for value in graph.output if value.name in maps)]
    if len(candidates) != 1:
        outputs = ", ".join(value.name for value in graph.output)
        raise UsageError(f"the network has the outputs {outputs}; say which holds the scores: output=NAME")
    return str(candidates[0])


def _before(found: _Input, preprocess: Preprocess) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes from `image` to the network's input, with their constants."""
    factor, summand = preprocess.affine
    whole = found.type == TensorProto.UINT8
    if whole and ((factor != 1).any() or summand.any()):
        raise UsageError(f"the input {found.name} takes whole pixels (uint8): say range=0..255, without scale, mean or std")
    steps: list[tuple[str, dict[str, Any], np.ndarray | None]] = []
    if not whole:
        steps.append(("Cast", {"to": TensorProto.FLOAT}, None))
    if preprocess.colours == "bgr":
        steps.append(("Gather", {"axis": 3}, np.array([2, 1, 0], np.int64)))
    if (factor != 1).any():
        steps.append(("Mul", {}, factor))
    if summand.any():
        steps.append(("Add", {}, summand))
    if found.layout == "nchw":
        steps.append(("Transpose", {"perm": [0, 3, 1, 2]}, None))
    if found.type == TensorProto.FLOAT16:
        steps.append(("Cast", {"to": TensorProto.FLOAT16}, None))
    steps.append(("Identity", {}, None))
    nodes, constants, current = [], [], INPUT_NAME
    for number, (kind, attributes, constant) in enumerate(steps):
        name = f"preprocess_{number}" if number < len(steps) - 1 else PREFIX + found.name
        inputs = [current]
        if constant is not None:
            constants.append(numpy_helper.from_array(constant, f"preprocess_{number}_constant"))
            inputs.append(constants[-1].name)
        nodes.append(helper.make_node(kind, inputs, [name], name=f"preprocess_{number}_{kind}", **attributes))
        current = name
    return nodes, constants


def _after(output: str, preprocess: Preprocess) -> list[onnx.NodeProto]:
    """Nodes from the network's output, [N,classes] or [N,classes,1,1] of any float, to `scores`."""
    last = "Softmax" if preprocess.scores == "logits" else "Identity"
    attributes: dict[str, Any] = {"axis": 1} if last == "Softmax" else {}
    return [
        helper.make_node("Cast", [output], ["postprocess_0"], name="postprocess_0_Cast", to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["postprocess_0"], ["postprocess_1"], name="postprocess_1_Flatten", axis=1),
        helper.make_node(last, ["postprocess_1"], [OUTPUT_NAME], name=f"postprocess_2_{last}", **attributes),
    ]

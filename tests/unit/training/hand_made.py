"""ONNX networks made by hand and images for them, without TensorFlow."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.metadata import INPUT_NAME, OUTPUT_NAME
from tests.support.models import LUMA
from tests.unit.training.sets import training_set
from training.data import TrainingSet

SIDE = 16
"""Of the `layered` network."""


HEIGHT, WIDTH, CLASSES = 9, 12, 4
"""Of the `foreign` network."""

IMAGES = np.random.default_rng(1).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)

Array: TypeAlias = npt.NDArray[Any]


def computed_in(kind: int) -> type[np.floating[Any]]:
    return np.float16 if kind == TensorProto.FLOAT16 else np.float32


def weights(shape: tuple[int, ...]) -> Array:
    """Different for each place and colour."""
    return np.random.default_rng(2).normal(0, 1 / np.sqrt(HEIGHT * WIDTH * 3), (int(np.prod(shape)), CLASSES))


def foreign(
    path: Path,
    layout: str = "nchw",
    kind: int = TensorProto.FLOAT,
    *,
    logits: bool = False,
    names: tuple[str, str] = ("data", "prob"),
    sides: tuple[Any, Any] = (HEIGHT, WIDTH),
    square: bool = False,
    opset: int = 17,
    ir: int = 8,
) -> Path:
    """One layer over all pixels, then softmax unless it gives `logits`; `square`: its output is [N,classes,1,1]."""
    given, told = names
    shape: tuple[int, int, int] = (3, HEIGHT, WIDTH) if layout == "nchw" else (HEIGHT, WIDTH, 3)
    dims = ["batch", 3, *sides] if layout == "nchw" else ["batch", *sides, 3]
    axis: dict[str, Any] = {} if logits else {"axis": 1}
    constants = [numpy_helper.from_array(weights(shape).astype(computed_in(kind)), "w")]
    nodes = [
        helper.make_node("Cast", [given], ["whole"], to=TensorProto.FLOAT if kind == TensorProto.UINT8 else kind),
        helper.make_node("Flatten", ["whole"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["raw"]),
        helper.make_node("Identity" if logits else "Softmax", ["raw"], ["answer" if square else told], **axis),
    ]
    if square:
        constants.append(numpy_helper.from_array(np.array([0, CLASSES, 1, 1], np.int64), "square"))
        nodes.append(helper.make_node("Reshape", ["answer", "square"], [told]))
    out_kind = TensorProto.FLOAT if kind == TensorProto.UINT8 else kind
    return save(
        path,
        nodes,
        constants,
        helper.make_tensor_value_info(given, kind, dims),
        helper.make_tensor_value_info(told, out_kind, ["batch", CLASSES, 1, 1] if square else ["batch", CLASSES]),
        opset=opset,
        ir=ir,
    )


def expected(pixels: Array, layout: str, colours: str, factor: float, summand: float, mean: Any, std: Any, kind: int) -> Array:  # noqa: ANN401
    """What `foreign` says of RGB pixels, if it is given them so; computed in numpy."""
    x = pixels.astype(np.float64)
    x = x[..., ::-1] if colours == "bgr" else x
    x = (x * factor + summand - np.array(mean)) / np.array(std)
    x = x.transpose(0, 3, 1, 2) if layout == "nchw" else x
    x = x.astype(computed_in(kind)).astype(np.float64)
    shape = x.shape[1:]
    logits = x.reshape(len(x), -1) @ weights(shape).astype(computed_in(kind)).astype(np.float64)
    spread: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = spread / spread.sum(axis=1, keepdims=True)
    return shares


def layered(path: Path, ranges: Sequence[float] = (1, 1, 1), *, gain: float = 1, mirrored: bool = False) -> Path:
    """A network of our contract that tells dark from bright by three convolutions.

    Each passes on the brightness, and beside it the brightness times one of `ranges`: where that is large, one scale for both
    leaves nothing of the first. `gain`: what the first layer makes of the brightness and the second takes back. `mirrored`: the
    answer is the mean of two.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def add(kind: str, inputs: Sequence[str], output: str, *arrays: Any, **attributes: Any) -> str:  # noqa: ANN401
        names = [f"{output}_{number}" for number in range(len(arrays))]
        constants.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in zip(names, arrays, strict=True))
        nodes.append(helper.make_node(kind, [*inputs, *names], [output], name=output, **attributes))
        return output

    x = add("Mul", [add("Cast", [INPUT_NAME], "cast", to=TensorProto.FLOAT)], "scaled", np.float32(1 / 255))
    x = add("Transpose", [x], "nchw", perm=[0, 3, 1, 2])
    sizes = np.array([[gain, 2, 1], ranges]).T  # of both channels behind each layer
    layers = [np.outer(sizes[0], LUMA), *(np.diag(after / before) for before, after in pairwise(sizes))]
    for number, weights in enumerate(layers):
        x = add("Conv", [x], f"conv{number}", weights[:, :, None, None].astype(np.float32), np.zeros(2, np.float32))
        x = add("Relu", [x], f"relu{number}")
    x = add("Flatten", [add("GlobalAveragePool", [x], "pooled")], "flat", axis=1)
    x = add("Gemm", [x], "logits", np.array([[-20, 20], [0, 1e-9]], np.float32), np.array([10, -10], np.float32))
    if mirrored:
        one, two = (add("Softmax", [x], f"softmax{number}", axis=axis) for number, axis in ((1, 1), (2, -1)))
        add("Mul", [add("Add", [one, two], "sum")], OUTPUT_NAME, np.float32(0.5))
    else:
        add("Softmax", [x], OUTPUT_NAME, axis=1)
    save(
        path,
        nodes,
        constants,
        helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", SIDE, SIDE, 3]),
        helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", 2]),
    )
    return path


def save(path: Path, nodes: Any, constants: Any, given: Any, *outputs: Any, opset: int = 17, ir: int = 8) -> Path:  # noqa: ANN401
    """Write a graph with one input."""
    graph = helper.make_graph(nodes, "hand_made", [given], outputs, constants)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=ir), str(path))
    return path


def dark_and_bright(train: int = 40, validation: int = 30, labels: Sequence[str] = ("bright", "dark")) -> TrainingSet:
    """Noise, dark and bright in turns; the labels in alphabetical order, as `prepare` gives them."""
    count = train + validation
    targets = np.arange(count) % 2
    levels = np.where(targets == list(labels).index("bright"), 150, 0).astype(np.uint8)
    pixels = np.random.default_rng(1).integers(0, 100, (count, SIDE, SIDE, 3)).astype(np.uint8) + levels[:, None, None, None]
    return training_set(labels, pixels, targets, train)

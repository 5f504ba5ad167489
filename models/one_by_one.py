"""A graph that infers the images of a batch one after the other, within one call of the runtime.

A network is mostly quickest with single images: what one needs of memory fits a core's second cache, what eight need does not.
But each call gives Python's lock up and has to get it back, which takes longest where there is most to do. ONNX's `Scan`
(https://onnx.ai/onnx/operators/onnx__Scan.html) runs a graph over slices of its input: single images, and one call.
"""

from pathlib import Path
from typing import Any

from models.metadata import INPUT_NAME, OUTPUT_NAME

OLDEST_OPSET = 13
"""Since then `Squeeze` and `Unsqueeze` take their axes as an input."""

INNER, OUTER = "one/", "one_by_one/"
"""Before the names of the graph that is wrapped, and of what is around it: no name may be both an inner and an outer one."""


def write_in_single_images(path: Path, target: Path) -> bool:
    """Make of a model's ONNX file one that gives the same scores, to the bit, and takes one image after the other.

    Returns whether it was written. If not, the file's operators are too old, or it can't be read or does not keep the contract,
    which is for its loader to say.
    """
    import onnx
    from google.protobuf.message import Error as ProtobufError

    try:
        inner = onnx.load(path)
        names = [[value.name for value in values] for values in (inner.graph.input, inner.graph.output)]
        opset = next((used.version for used in inner.opset_import if used.domain in ("", "ai.onnx")), 0)
        if names != [[INPUT_NAME], [OUTPUT_NAME]] or opset < OLDEST_OPSET:
            return False
        onnx.save(_wrapped(inner), str(target))
    except (OSError, ValueError, ProtobufError, onnx.checker.ValidationError):  # the last: weights beside it that are not there
        return False
    return True


def _wrapped(inner: Any) -> Any:  # noqa: ANN401  # onnx is loaded when it is needed
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, compose, helper

    graph = GraphProto(name="one_by_one", input=inner.graph.input, output=inner.graph.output)
    axis, images, scores = (f"{OUTER}{name}" for name in ("second_axis", "images", "scores"))
    graph.initializer.append(helper.make_tensor(axis, TensorProto.INT64, [1], [1]))
    graph.node.append(helper.make_node("Unsqueeze", [INPUT_NAME, axis], [images]))
    scan = graph.node.add(op_type="Scan", input=[images], output=[scores])
    scan.attribute.append(helper.make_attribute("num_scan_inputs", 1))
    # Constants keep their names: `compose` overlooks where inner graphs of this one use them.
    compose.add_prefix_graph(inner.graph, INNER, rename_initializers=False, inplace=True)
    scan.attribute.add(name="body", type=AttributeProto.GRAPH).g.CopyFrom(inner.graph)
    graph.node.append(helper.make_node("Squeeze", [scores, axis], [OUTPUT_NAME]))
    return ModelProto(ir_version=inner.ir_version, opset_import=inner.opset_import, functions=inner.functions, graph=graph)

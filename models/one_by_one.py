"""A graph that infers the images of a batch one after the other, within one call of the runtime.

A network is mostly quickest with single images: what one needs of memory fits a core's second cache, what eight need does not.
But each call gives Python's lock up and has to get it back, which takes longest where there is most to do. ONNX's `Scan`
(https://onnx.ai/onnx/operators/onnx__Scan.html) runs a graph over slices of its input: single images, and one call.
"""

from pathlib import Path

from models.metadata import INPUT_NAME, OUTPUT_NAME

OLDEST_OPSET = 13
"""Since then `Squeeze` and `Unsqueeze` take their axes as an input."""

INNER = "one/"
"""Before every name of the graph that is wrapped: inner names must differ from outer ones."""


def in_single_images(path: Path) -> bytes | None:
    """The ONNX file of a model -> the bytes of one that gives the same scores, to the bit, and takes one image after the other.

    None: its operators are too old, or it can't be read or does not keep the contract, which is for its loader to say.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        whole = onnx.load(path)
    except (OSError, DecodeError, onnx.checker.ValidationError):  # the last: weights outside the file that are not there
        return None
    graph = whole.graph
    names = [[value.name for value in values] for values in (graph.input, graph.output)]
    opset = next((used.version for used in whole.opset_import if used.domain in ("", "ai.onnx")), 0)
    if names != [[INPUT_NAME], [OUTPUT_NAME]] or opset < OLDEST_OPSET:
        return None
    outer = onnx.GraphProto(name="one_by_one", input=graph.input, output=graph.output)
    outer.initializer.append(onnx.helper.make_tensor("second", onnx.TensorProto.INT64, [1], [1]))
    onnx.compose.add_prefix_graph(graph, INNER, inplace=True)
    node = onnx.helper.make_node
    outer.node.extend(
        [
            node("Unsqueeze", [INPUT_NAME, "second"], ["batches_of_one"]),
            node("Scan", ["batches_of_one"], ["scores_of_one"], body=graph, num_scan_inputs=1),
            node("Squeeze", ["scores_of_one", "second"], [OUTPUT_NAME]),
        ]
    )
    graph.CopyFrom(outer)
    wrapped: bytes = whole.SerializeToString()
    return wrapped

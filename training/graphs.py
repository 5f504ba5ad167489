"""Small surgery on ONNX graphs in memory."""

from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo

from models.errors import UsageError

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Layers with weights; in attention a MatMul has none, and counts all the same."""


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, and the files of its weights if they lie beside it. Raises `UsageError`."""
    try:
        model = onnx.load(path, load_external_data=False)
        outside = {ExternalDataInfo(tensor).location for tensor in model.graph.initializer if tensor.external_data}
        if missing := sorted(name for name in outside if not (path.parent / name).is_file()):
            raise UsageError(f"{path.name} keeps its weights in {', '.join(missing)}, which must lie beside it")
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except UsageError:
        raise
    except Exception as exc:  # protobuf, onnx and the system raise what they please for a file that is no graph
        raise UsageError(f"{path} is no ONNX model that can be read: {exc}") from exc
    return model


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Tidy a graph, check it and write it, weights included."""
    prune(model.graph)
    sort_nodes(model.graph)
    if not model.functions:
        used = {"", *(node.domain for node in _all_nodes(model.graph))}
        imports = [one for one in model.opset_import if one.domain.removeprefix("ai.onnx") in used or one.domain in used]
        del model.opset_import[:]
        model.opset_import.extend(imports)
    del model.graph.value_info[:]  # shapes of the graph as it was
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put each node after those whose outputs it takes, as the format demands."""
    maker = {output: number for number, node in enumerate(graph.node) for output in node.output if output}
    needs = {number: [maker[name] for name in _inputs(node) if name in maker] for number, node in enumerate(graph.node)}
    nodes = [graph.node[number] for number in TopologicalSorter(needs).static_order()]
    del graph.node[:]
    graph.node.extend(nodes)


def prune(graph: onnx.GraphProto) -> None:
    """Drop the nodes and the constants that no output needs."""
    maker = {output: number for number, node in enumerate(graph.node) for output in node.output if output}
    waiting = [output.name for output in graph.output]
    needed: set[int] = set()
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        names.add(name)
        number = maker.get(name)
        if number is not None and number not in needed:
            needed.add(number)
            waiting += _inputs(graph.node[number])
    nodes = [node for number, node in enumerate(graph.node) if number in needed]
    constants = [tensor for tensor in graph.initializer if tensor.name in names]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)


def tail(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that no layer with weights depends on, in order: what makes probabilities of the last layer's output."""
    maker = {output: number for number, node in enumerate(graph.node) for output in node.output if output}
    waiting = [number for number, node in enumerate(graph.node) if node.op_type in WEIGHTED]
    needed: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number not in needed:
            needed.add(number)
            waiting += [maker[name] for name in _inputs(graph.node[number]) if name in maker]
    return [node for number, node in enumerate(graph.node) if number not in needed]


def _inputs(node: onnx.NodeProto) -> list[str]:
    """What a node takes, its subgraphs included: their own names do no harm."""
    return [*filter(None, node.input), *(name for graph in _subgraphs(node) for inner in graph.node for name in _inputs(inner))]


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _all_nodes(inner)


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]

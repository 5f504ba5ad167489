"""Surgery on graphs leaves a graph that can be read again."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.errors import UsageError
from models.runtime import OnnxModel
from tests.unit.training.hand_made import SIDE, layered
from training.graphs import prune, read_graph, sort_nodes, tail, write_graph

IMAGES = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)


def test_what_was_read_is_written_again_and_answers_the_same(tmp_path: Path) -> None:
    path = layered(tmp_path / "model.onnx")
    model = read_graph(path)
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid("com.example.unused", 1))
    write_graph(model, tmp_path / "again.onnx")
    assert [one.domain for one in onnx.load(tmp_path / "again.onnx").opset_import] == [""]
    first, second = (OnnxModel(file, threads=1).run(IMAGES) for file in (path, tmp_path / "again.onnx"))
    np.testing.assert_array_equal(first, second)


def branching() -> onnx.GraphProto:
    """Nodes out of order, one of which takes a constant of the graph inside a branch, and one that nobody needs."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["x", "outer"], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["early"], ["otherwise"])],
        "else",
        [],
        [helper.make_tensor_value_info("otherwise", TensorProto.FLOAT, [1])],
    )
    return helper.make_graph(
        [
            helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=other),
            helper.make_node("Mul", ["x", "unused"], ["nobody"]),
            helper.make_node("Neg", ["x"], ["early"]),
        ],
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [
            numpy_helper.from_array(np.array([1], np.float32), "outer"),
            numpy_helper.from_array(np.array([1], np.float32), "unused"),
            numpy_helper.from_array(np.array(False), "yes"),
        ],
    )


def test_what_a_branch_takes_is_kept_and_comes_before_it() -> None:
    graph = branching()
    prune(graph)
    assert [node.op_type for node in graph.node] == ["If", "Neg"]
    assert sorted(tensor.name for tensor in graph.initializer) == ["outer", "yes"]
    sort_nodes(graph)
    assert [node.op_type for node in graph.node] == ["Neg", "If"]
    onnx.checker.check_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize(("mirrored", "last"), [(False, ["scores"]), (True, ["softmax1", "softmax2", "sum", "scores"])])
def test_the_tail_is_what_stands_behind_the_last_layer(tmp_path: Path, mirrored: bool, last: list[str]) -> None:
    graph = read_graph(layered(tmp_path / "model.onnx", mirrored=mirrored)).graph
    assert [node.name for node in tail(graph)] == last


def test_what_is_no_graph_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x00\x01")
    with pytest.raises(UsageError, match="is no ONNX model that can be read"):
        read_graph(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="is no ONNX model that can be read"):
        read_graph(tmp_path / "nowhere.onnx")

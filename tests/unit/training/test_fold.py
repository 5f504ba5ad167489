"""Preprocessing that was declared is what the graph does, held against the same in numpy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import UsageError
from models.runtime import OnnxModel
from tests.unit.training.hand_made import CLASSES, HEIGHT, IMAGES, WIDTH, expected, foreign
from training.fold import fold
from training.graphs import read_graph, write_graph
from training.preprocess import Preprocess, parse_preprocess


def folded(path: Path, *words: str) -> OnnxModel:
    model, spec = fold(read_graph(path), parse_preprocess(words, {}), CLASSES)
    target = path.with_name("folded.onnx")
    write_graph(model, target)
    assert (spec.height, spec.width) == (HEIGHT, WIDTH)
    session = OnnxModel(target, threads=1)  # which checks names and types
    assert session.classes == CLASSES
    return session


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("colours", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_layout_colours_and_types_are_what_was_declared(
    tmp_path: Path, layout: str, colours: str, kind: int, logits: bool
) -> None:
    path = foreign(tmp_path / "model.onnx", layout, kind, logits=logits)
    words = [
        f"colours={colours}",
        "range=0..1",
        "mean=0.1,0.2,0.3",
        "std=0.4,0.5,0.6",
        f"scores={'logits' if logits else 'softmax'}",
    ]
    scores = folded(path, *words).run(IMAGES)
    reference = expected(IMAGES, layout, colours, 1 / 255, 0, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), kind)
    tolerance = 1e-5 if kind == TensorProto.FLOAT else 2e-3
    np.testing.assert_allclose(scores, reference, atol=tolerance)
    assert np.ptp(reference, axis=0).max() > 0.05, "the images are told apart"


@pytest.mark.parametrize(
    ("words", "factor", "summand", "mean", "std"),
    [
        (["range=0..255"], 1, 0, 0, 1),
        (["range=0..1"], 1 / 255, 0, 0, 1),
        (["range=-1..1"], 2 / 255, -1, 0, 1),
        (["scale=0.01"], 0.01, 0, 0, 1),
        (["range=0..255", "mean=103.939,116.779,123.68"], 1, 0, (103.939, 116.779, 123.68), 1),
        (["range=-1..1", "mean=1,2,3", "std=4,5,6"], 2 / 255, -1, (1, 2, 3), (4, 5, 6)),
        (["torchvision", "scores=softmax"], 1 / 255, 0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (["tf", "layout=nchw"], 2 / 255, -1, 0, 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_pixels_are_brought_to_the_range_that_was_declared(
    tmp_path: Path,
    words: list[str],
    factor: float,
    summand: float,
    mean: Any,  # noqa: ANN401
    std: Any,  # noqa: ANN401
) -> None:
    scores = folded(foreign(tmp_path / "model.onnx"), *words).run(IMAGES)
    reference = expected(IMAGES, "nchw", "rgb", factor, summand, mean, std, TensorProto.FLOAT)
    np.testing.assert_allclose(scores, reference, atol=1e-4)


def test_the_caffe_preset_is_that_of_keras(tmp_path: Path) -> None:
    scores = folded(foreign(tmp_path / "model.onnx", "nhwc"), "caffe").run(IMAGES)
    reference = expected(IMAGES, "nhwc", "bgr", 1, 0, (103.939, 116.779, 123.68), 1, TensorProto.FLOAT)
    np.testing.assert_allclose(scores, reference, atol=1e-4)


@pytest.mark.parametrize("colours", ["rgb", "bgr"])
def test_a_network_that_takes_whole_pixels_gets_them_as_they_are(tmp_path: Path, colours: str) -> None:
    path = foreign(tmp_path / "model.onnx", "nhwc", TensorProto.UINT8)
    scores = folded(path, "range=0..255", f"colours={colours}").run(IMAGES)
    np.testing.assert_allclose(scores, expected(IMAGES, "nhwc", colours, 1, 0, 0, 1, TensorProto.FLOAT), atol=1e-5)
    with pytest.raises(UsageError, match=r"takes whole pixels \(uint8\): say range=0\.\.255"):
        folded(path)


@pytest.mark.parametrize("names", [("image", "scores"), ("scores", "image"), ("preprocess_0", "postprocess_0")])
def test_names_of_the_original_may_be_ours(tmp_path: Path, names: tuple[str, str]) -> None:
    scores = folded(foreign(tmp_path / "model.onnx", names=names)).run(IMAGES)
    np.testing.assert_allclose(scores, expected(IMAGES, "nchw", "rgb", 1 / 255, 0, 0, 1, TensorProto.FLOAT), atol=1e-5)


def test_scores_may_come_as_a_square_of_one_pixel(tmp_path: Path) -> None:
    scores = folded(foreign(tmp_path / "model.onnx", square=True)).run(IMAGES)
    assert scores.shape == (3, CLASSES)
    np.testing.assert_allclose(scores, expected(IMAGES, "nchw", "rgb", 1 / 255, 0, 0, 1, TensorProto.FLOAT), atol=1e-5)


def test_old_files_are_taken_whose_constants_are_inputs(tmp_path: Path) -> None:
    path = foreign(tmp_path / "model.onnx", opset=8, ir=3)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, path)
    scores = folded(path, "colours=bgr", "mean=0.1,0.2,0.3").run(IMAGES)
    np.testing.assert_allclose(
        scores, expected(IMAGES, "nchw", "bgr", 1 / 255, 0, (0.1, 0.2, 0.3), 1, TensorProto.FLOAT), atol=1e-5
    )


def test_the_original_is_left_as_it_was(tmp_path: Path) -> None:
    original = read_graph(foreign(tmp_path / "model.onnx"))
    before = original.SerializeToString()
    fold(original, Preprocess(), CLASSES)
    assert original.SerializeToString() == before


def with_map(path: Path, tmp_path: Path) -> Path:
    """As exporters of classical libraries end: the label in front, and a map from labels to probabilities."""
    model = onnx.load(foreign(tmp_path / "plain.onnx"))
    graph = model.graph
    graph.node.append(helper.make_node("ArgMax", ["prob"], ["label"], axis=1, keepdims=0))
    graph.node.append(
        helper.make_node(
            "ZipMap", ["prob"], ["loss"], domain="ai.onnx.ml", classlabels_strings=[f"class{i}" for i in range(CLASSES)]
        )
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
    kinds = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph.output.append(helper.make_value_info("loss", helper.make_sequence_type_proto(kinds)))
    onnx.save(model, path)
    return path


def test_a_map_of_probabilities_is_taken_back_to_its_numbers(tmp_path: Path) -> None:
    scores = folded(with_map(tmp_path / "model.onnx", tmp_path)).run(IMAGES)
    np.testing.assert_allclose(scores, expected(IMAGES, "nchw", "rgb", 1 / 255, 0, 0, 1, TensorProto.FLOAT), atol=1e-5)
    kinds = {node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node}
    assert not kinds & {"ZipMap", "ArgMax"}, "what nobody asks for is left out"


def test_any_tensor_can_be_named_as_the_output(tmp_path: Path) -> None:
    scores = folded(foreign(tmp_path / "model.onnx"), "output=raw", "scores=logits").run(IMAGES)
    np.testing.assert_allclose(scores, expected(IMAGES, "nchw", "rgb", 1 / 255, 0, 0, 1, TensorProto.FLOAT), atol=1e-5)
    with pytest.raises(UsageError, match="output=raws: there is no such tensor; the outputs are prob"):
        folded(tmp_path / "model.onnx", "output=raws")


def test_of_several_outputs_one_must_be_named(tmp_path: Path) -> None:
    model = onnx.load(foreign(tmp_path / "model.onnx"))
    model.graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", CLASSES]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="the network has the outputs prob, raw; say which holds the scores: output=NAME"):
        folded(tmp_path / "model.onnx")
    assert folded(tmp_path / "model.onnx", "output=prob").run(IMAGES).shape == (3, CLASSES)


SIZES: Mapping[str, tuple[tuple[Any, Any], list[str], str]] = {
    "free": (("h", "w"), [], r"is any x any .height x width.; say size="),
    "other": ((HEIGHT, WIDTH), ["size=12x9"], "is 9 x 12 .height x width.; say size="),
    "half free": ((HEIGHT, "w"), ["size=10x12"], "is 9 x any"),
    "small": (("h", "w"), ["size=4"], "images of 4 x 4 pixels can't be"),
}


@pytest.mark.parametrize(("sides", "words", "reason"), SIZES.values(), ids=SIZES)
def test_the_size_must_be_known_and_fit(tmp_path: Path, sides: tuple[Any, Any], words: list[str], reason: str) -> None:
    path = foreign(tmp_path / "model.onnx", sides=sides)
    with pytest.raises(UsageError, match=reason):
        folded(path, *words)


def test_a_free_size_is_the_one_that_was_declared(tmp_path: Path) -> None:
    assert folded(foreign(tmp_path / "model.onnx", sides=("h", "w")), f"size={HEIGHT}x{WIDTH}").run(IMAGES).shape == (3, CLASSES)


def rewritten(path: Path, kind: int, dims: list[Any]) -> Path:
    """The file with another input."""
    model = onnx.load(foreign(path))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("data", kind, dims))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("kind", "dims", "words", "reason"),
    [
        (TensorProto.DOUBLE, ["n", 3, 9, 12], [], "data is of type DOUBLE; float32, float16, uint8 are understood"),
        (TensorProto.FLOAT, ["n", 324], [], "data has 2 dimensions; an image has four"),
        (TensorProto.FLOAT, ["n", "c", "h", "w"], ["size=9x12"], "say layout=nchw or layout=nhwc"),
        (TensorProto.FLOAT, ["n", 3, 9, 3], [], "say layout=nchw or layout=nhwc"),
        (TensorProto.FLOAT, ["n", 1, 9, 12], ["layout=nchw"], "data has 1 channels as nchw; three colours are understood"),
        (TensorProto.FLOAT, ["n", 3, 9, 12], ["layout=nhwc"], "data has 12 channels as nhwc"),
        (TensorProto.FLOAT, ["n", 3, 9, 12], ["input=image"], "input=image: the network's inputs are data"),
    ],
)
def test_an_input_that_is_no_image_of_three_colours_is_refused(
    tmp_path: Path, kind: int, dims: list[Any], words: list[str], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        folded(rewritten(tmp_path / "model.onnx", kind, dims), *words)


def test_a_network_that_wants_more_than_an_image_is_refused(tmp_path: Path) -> None:
    model = onnx.load(foreign(tmp_path / "model.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.FLOAT, ["batch", 2]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="input=: the network's inputs are data, size; name the one for the image"):
        folded(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="the network wants size beside its image data"):
        folded(tmp_path / "model.onnx", "input=data")


def test_a_graph_older_than_broadcasting_is_refused(tmp_path: Path) -> None:
    model = onnx.load(foreign(tmp_path / "model.onnx"))
    model.opset_import[0].version = 6
    with pytest.raises(UsageError, match="speaks opset 6; convert it to 7 or newer"):
        fold(model, Preprocess(), CLASSES)

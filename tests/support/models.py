"""Real models, small enough to make in milliseconds: ONNX graphs that keep the contract, built without TensorFlow."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models import golden
from models.metadata import INPUT_NAME, OUTPUT_NAME, InputSpec, ModelCard, Precision, Speed, Variant, stored_file
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel

LUMA = (0.299, 0.587, 0.114)
"""Unequal, so that swapped channels change the scores."""


def tiny_model(
    store: Path,
    name: str = "tiny",
    labels: Sequence[str] = ("dark", "bright"),
    *,
    height: int = 32,
    width: int = 32,
    precisions: Sequence[Precision] = ("fp32",),
    sharpness: float = 20.0,
    speeds: Mapping[Precision, float] = MappingProxyType({}),
) -> StoredModel:
    """Add a model to the store, as the next version of its name, that tells pictures apart by their brightness.

    The first label is black, the last white, those between evenly spaced; the nearest wins. A higher `sharpness` makes it more
    certain; a negative one makes the farthest win. Every precision gets a file of its own with the same graph, and of `speeds`
    what the card says.
    """
    repository = Repository(store)
    folder = repository.workspace()
    try:
        spec = InputSpec(height=height, width=width)
        files = {name: folder / ("model.onnx" if name == "fp32" else f"model.{name}.onnx") for name in precisions}
        for precision, path in files.items():
            write_graph(path, len(labels), height=height, width=width, sharpness=sharpness, note=precision)
        golden_file = folder / "golden.npz"
        golden.write(golden_file, spec, {precision: OnnxModel(path, threads=1).run for precision, path in files.items()})
        (folder / "CARD.md").write_text(f"# {name}\n\nTells pictures apart by their brightness.\n", encoding="utf-8")
        card = ModelCard(
            name=name,
            version="1",  # the store gives it the next free number
            labels=list(labels),
            input=spec,
            variants=[
                Variant(precision=precision, **stored_file(path).model_dump(), speed=_speed(speeds.get(precision)))
                for precision, path in files.items()
            ],
            golden=stored_file(golden_file),
        )
        return repository.add(card, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _speed(images_per_second: float | None) -> Speed | None:
    if images_per_second is None:
        return None
    return Speed(images_per_second=images_per_second, provider="CPUExecutionProvider", processor="one like this", cores=2)


def write_graph(path: Path, classes: int, *, height: int = 32, width: int = 32, sharpness: float = 20.0, note: str = "") -> None:
    """uint8 `image` [N,height,width,3] -> mean colour -> linear -> softmax -> float32 `scores` [N,classes]."""
    anchors = np.linspace(0.0, 1.0, classes)
    # -sharpness * (brightness - anchor)^2, less the square of the brightness, which all classes share: linear in the colour
    weights = np.outer(2 * sharpness * np.array(LUMA) / 255, anchors).astype(np.float32)
    bias = (-sharpness * anchors**2).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [INPUT_NAME], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=[1, 2], keepdims=0),
            helper.make_node("Gemm", ["colour", "weights", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=1),
        ],
        "brightness",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", height, width, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, doc_string=note)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))

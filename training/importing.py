"""`parallax models import`: a classifier of any origin becomes a version of the store, or is refused with what to declare."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from models import golden
from models.errors import UsageError
from models.metadata import InputSpec, ModelCard, Precision, Variant, file_sha256, stored_file
from models.repository import Repository
from models.runtime import OnnxModel
from training.card import imported_card_text
from training.fold import fold
from training.graphs import read_graph, write_graph
from training.preprocess import Preprocess, parse_preprocess
from training.progress import console

SUM_TOLERANCE = 0.01
"""By how much probabilities of a float16 or int8 network may miss one."""

QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})


def import_onnx(path: Path, name: str, labels: Sequence[str], words: Sequence[str], store: Repository) -> Path:
    """Fold a file's declared preprocessing into it, check what comes of it, and add it as a version. Returns its folder.

    Raises `UsageError` if declaration, labels and network don't fit each other, or the store has other labels under the name.
    """
    store.check_labels(name, labels)
    original = read_graph(path)
    preprocess = parse_preprocess(words, {one.key: one.value for one in original.metadata_props})
    precision = precision_of(original)
    folder = store.workspace()
    try:
        file = folder / ("model.onnx" if precision == "fp32" else f"model.{precision}.onnx")
        spec = _write(original, preprocess, labels, file)
        model = OnnxModel(file, threads=1)
        golden_file = folder / "golden.npz"
        golden.write(golden_file, spec, {precision: model.run})
        golden.check(golden_file, spec, precision, model.run, model.provider)
        card = ModelCard(
            name=name,
            version="1",  # the store gives it the next free number
            labels=list(labels),
            input=spec,
            variants=[Variant(precision=precision, **stored_file(file).model_dump(), size_bytes=file.stat().st_size)],
            golden=stored_file(golden_file),
        )
        text = imported_card_text(card, path.name, file_sha256(path), preprocess.model_dump(exclude_defaults=True))
        (folder / "CARD.md").write_text(text, encoding="utf-8")
        stored = store.add(card, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    stored.verify()
    console.print(
        f"{name}/{stored.card.version}: {len(labels)} classes, {spec.width} x {spec.height}, {precision}. Only labelled images "
        f"can tell whether the declaration is right: parallax models evaluate {name} --test ...",
        highlight=False,
    )
    return stored.folder


def precision_of(model: onnx.ModelProto) -> Precision:
    """What most of a network's weights are, or its layers compute in."""
    if any(node.op_type in QUANTIZED for node in model.graph.node):
        return "int8"
    sizes = {TensorProto.FLOAT: 0, TensorProto.FLOAT16: 0}
    for tensor in model.graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    return "fp16" if sizes[TensorProto.FLOAT16] > sizes[TensorProto.FLOAT] else "fp32"


def _write(original: onnx.ModelProto, preprocess: Preprocess, labels: Sequence[str], path: Path) -> InputSpec:
    """Write the folded graph, once its output was seen to be what it is declared to be."""
    bare, spec = fold(original, preprocess.model_copy(update={"scores": "softmax"}), len(labels))
    outputs = _run(bare, path, _samples(spec))
    if outputs.shape[1] != len(labels):
        raise UsageError(f"the network gives {outputs.shape[1]} scores for {len(labels)} labels")
    if not np.isfinite(outputs).all():
        raise UsageError("the network answers with what is no number: its preprocessing is another one")
    probabilities = bool((outputs >= 0).all() and (np.abs(outputs.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
    if preprocess.scores == "softmax" and not probabilities:
        raise UsageError(
            "the network's output is no distribution of probabilities: say scores=logits to have a softmax put behind it"
        )
    if preprocess.scores == "logits":
        if probabilities:
            raise UsageError(
                "the network's output is probabilities already; a second softmax would flatten them: say scores=softmax"
            )
        write_graph(fold(original, preprocess, len(labels))[0], path)
    return spec


def _run(model: onnx.ModelProto, path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Outputs for a batch, which must be those for its images one by one."""
    try:
        write_graph(model, path)
        session = OnnxModel(path, threads=1)
        alone = np.concatenate([session.run(image[None]) for image in images])
    except Exception as exc:  # onnx and onnxruntime raise a dozen types of their own
        raise UsageError(f"the network does not run on images of this size and layout: {exc}") from exc
    try:
        together = session.run(images)
    except Exception as exc:
        raise UsageError(f"the network takes one image at a time; export it with a batch of any size: {exc}") from exc
    if together.shape != alone.shape or not np.allclose(together, alone, rtol=1e-2, atol=1e-2, equal_nan=True):
        raise UsageError("the network answers otherwise for a batch than for its images one by one; export it for batches")
    return together


def _samples(spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Generated images [N,H,W,3]: noise, black, white."""
    images = np.random.default_rng(1).integers(0, 256, (4, spec.height, spec.width, 3), np.uint8)
    images[2:] = np.array([0, 255], np.uint8)[:, None, None, None]
    return images

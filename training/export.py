"""Keras -> ONNX, refused unless the two agree on real images."""

import shutil
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from models import golden
from models.errors import GoldenMismatch, UsageError
from models.metadata import ModelCard, Variant, stored_file
from models.repository import Repository
from models.runtime import OnnxModel
from training.card import card_text
from training.conversion import write_onnx
from training.fit import predict
from training.heads import mirrored
from training.progress import console
from training.runs import Run

MAX_DIFFERENCE = 1e-4


def export(run: Run, store: Repository) -> Path:
    """Convert a finished run's best model and add it to the store. Returns the folder of the new version.

    Raises `GoldenMismatch` if ONNX and Keras disagree on the run's validation images, `UsageError` if the run has not ended.
    """
    record = run.read()
    if record.facts is None or not run.best.exists():
        raise UsageError(f"{run.folder} has not ended; go on with it: parallax train {record.recipe.command} --resume")
    model = trained_model(run)
    spec = record.recipe.input_spec
    folder = store.workspace()
    try:
        path = folder / "model.onnx"
        convert(model, spec.height, spec.width, path)
        onnx_model = OnnxModel(path, threads=1)
        with np.load(run.parity, allow_pickle=False) as parity:
            difference = check_parity(model, onnx_model, parity["images"])
        console.print(f"ONNX agrees with Keras: scores differ by at most {difference:.1e}", highlight=False)
        keras_file = folder / "model.keras"
        model.save(keras_file)  # loaded without its optimiser, so it is a third of the run's own file
        golden_file = folder / "golden.npz"
        golden.write(golden_file, spec, {"fp32": onnx_model.run})
        card = ModelCard(
            name=record.name,
            version="1",  # the store gives it the next free number
            labels=record.labels,
            input=spec,
            variants=[Variant(precision="fp32", **stored_file(path).model_dump())],
            golden=stored_file(golden_file),
            keras=stored_file(keras_file),
            training=record.facts,
        )
        (folder / "CARD.md").write_text(card_text(card), encoding="utf-8")
        return store.add(card, folder).folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # there is nothing left to remove once the store has it


def trained_model(run: Run) -> keras.Model:
    """A run's best network as it will be served: RGB pixels float32 [N,H,W,3] in 0..255 -> scores float32 [N,classes]."""
    model = keras.models.load_model(run.best, compile=False)
    return mirrored(model) if run.read().recipe.mirrored else model


def convert(model: keras.Model, height: int, width: int, path: Path) -> None:
    """Write a Keras model (float32 0..255 in) as ONNX: uint8 `image` [N,height,width,3] -> float32 `scores` [N,classes]."""
    write_onnx(lambda image: model(tf.cast(image, tf.float32), training=False), (None, height, width, 3), path, tf.uint8)


def check_parity(model: keras.Model, onnx_model: OnnxModel, images: npt.NDArray[np.uint8]) -> float:
    """Compare ONNX with Keras on uint8 RGB [N,H,W,3]; returns the largest difference of a score. Raises `GoldenMismatch`."""
    expected = predict(model, images)
    scores = np.concatenate([onnx_model.run(images[i : i + 64]) for i in range(0, len(images), 64)])
    difference = float(np.abs(scores - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise GoldenMismatch(f"the exported model differs from Keras by {difference:.2g}; {MAX_DIFFERENCE:g} is allowed")
    if (scores.argmax(axis=1) != expected.argmax(axis=1)).any():
        raise GoldenMismatch("the exported model names another class than Keras does")
    return difference

"""A version of the store as a model of MLflow: packed so that MLflow's own tools can serve it, and registered under its name."""

import shutil
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import golden, imaging
from models.metadata import CARD_FILE, INPUT_NAME, OUTPUT_NAME, ModelCard, file_sha256
from models.repository import StoredModel
from training.tracking.journal import Journal
from training.tracking.server import error_code, mapped

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

INSIDE = "parallax"
"""Folder within the packed model that holds the version as the store has it: whoever copies the model takes it along."""

CARD_TEXT = "CARD.md"
MAX_TEXT = 5000
"""Characters that MLflow takes as a description."""

CARD_DIGEST = "parallax.card_sha256"


def register(journal: Journal, stored: StoredModel) -> str:
    """Keep a version with a run and register it, unless it is registered as it is. Returns the number that MLflow gave it."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

    card, client = stored.card, journal.client
    digest = file_sha256(stored.folder / CARD_FILE)
    if (known := registered(client, stored)) is not None:
        return known
    with mapped(f"{card.name} can't be registered"):
        try:
            client.create_registered_model(card.name)
        except MlflowException as exc:
            if error_code(exc) != "RESOURCE_ALREADY_EXISTS":
                raise
        path = f"model-{digest[:8]}"  # what is registered stays as it is when the version gets more variants
        with journal.folder(path) as folder:
            pack(stored, folder)
        added = client.create_model_version(
            card.name,
            RunsArtifactRepository.get_underlying_uri(f"runs:/{journal.run_id}/{path}"),
            journal.run_id,
            tags=_tags(card) | {CARD_DIGEST: digest},
            description=_text(stored.folder / CARD_TEXT),
        )
    return str(added.version)


def registered(client: "MlflowClient", stored: StoredModel) -> str | None:
    """The number under which a version is registered as it is, if it is."""
    digest = file_sha256(stored.folder / CARD_FILE)
    with mapped(f"{stored.card.name} can't be looked up"):
        found = client.search_model_versions(f"name='{stored.card.name}'")
    return next((str(one.version) for one in found if one.tags.get(CARD_DIGEST) == digest), None)


def pack(stored: StoredModel, folder: Path) -> None:
    """Write a version as a model of MLflow's onnx flavour, with signature and example, into an empty folder."""
    import onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow complains of a type hint of its own
        import mlflow.onnx
        import mlflow.pyfunc  # which it would load later

    card = stored.card
    served = card.variant("fp32") or card.variants[0]
    example = imaging.load(golden.images(stored.folder / card.golden.file)[0], card.input)
    mlflow.onnx.save_model(
        onnx.load(stored.folder / served.file),
        str(folder),
        signature=signature(card),
        input_example={INPUT_NAME: example[None]},
        pip_requirements=[_pinned("onnx"), _pinned("onnxruntime")],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    inside = folder / INSIDE
    inside.mkdir()
    for name in (CARD_FILE, *(file.file for file in card.files)):
        shutil.copyfile(stored.folder / name, inside / name)
    with suppress(FileNotFoundError):
        shutil.copyfile(stored.folder / CARD_TEXT, inside / CARD_TEXT)


def signature(card: ModelCard) -> "ModelSignature":
    """The contract of `models.metadata`, as MLflow says it."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    image = TensorSpec(np.dtype(np.uint8), (-1, card.input.height, card.input.width, 3), INPUT_NAME)
    scores = TensorSpec(np.dtype(np.float32), (-1, len(card.labels)), OUTPUT_NAME)
    return ModelSignature(Schema([image]), Schema([scores]))


def _tags(card: ModelCard) -> dict[str, str]:
    facts = card.training
    return {
        "parallax.version": card.version,
        "labels": " ".join(card.labels),
        "precisions": " ".join(variant.precision for variant in card.variants),
    } | ({"validation_accuracy": f"{facts.validation.value:.4f}"} if facts else {})


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8")[:MAX_TEXT] if path.exists() else None


def _pinned(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:  # onnxruntime by another name
        return package

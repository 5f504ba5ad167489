"""A store of small real models, what spoils one of them, and what a service finds in it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.card_files import read_card, write_card
from models.imaging import Pixels
from models.metadata import ModelCard, stored_file
from models.repository import Repository, StoredModel
from service.backends.base import Candidate
from service.backends.devices import choose_device
from service.backends.factory import finder
from service.backends.onnx import OnnxBackend
from service.domain import Inferred, Scores
from service.plans import PlanBook
from service.registry import Registry
from service.settings import load_settings
from service.tuning import Plan


def find_in(store: Path, **settings: object) -> Mapping[str, Sequence[Candidate]]:
    """What could be served."""
    chosen = load_settings(models_dir=store, **settings)
    return finder(Repository(store), chosen, 1, PlanBook(chosen.data_dir / "plans", 1))()


async def open_store(store: Path, **settings: object) -> Registry:
    """A registry that serves it."""
    registry = Registry(load_settings(models_dir=store, **settings))
    await registry.open(find_in(store, **settings))
    return registry


def plan_book() -> PlanBook:
    """Where the settings of a test have it."""
    return PlanBook(load_settings().data_dir / "plans", 2)


def load_tiny(store: Path, *, inherited: Plan | None = None, **options: object) -> OnnxBackend:
    """The newest version of `tiny`, loaded but not started, on a machine with two processors."""
    settings = load_settings(models_dir=store, **options)
    stored = Repository(store).get("tiny")
    return OnnxBackend.load(stored, settings, choose_device(settings, cpus=2), plan_book(), inherited)


async def infer(backend: OnnxBackend, *images: bytes | Pixels) -> list[Scores]:
    """Scores of images that must all have some."""
    outcomes = await backend.infer(images)
    assert all(isinstance(outcome, Inferred) for outcome in outcomes), outcomes
    return [outcome.scores for outcome in outcomes if isinstance(outcome, Inferred)]


def alter_file(stored: StoredModel) -> None:
    with (stored.folder / stored.card.variants[0].file).open("ab") as file:
        file.write(b"\0")


def remove_file(stored: StoredModel) -> None:
    (stored.folder / stored.card.variants[0].file).unlink()


def break_card(stored: StoredModel) -> None:
    (stored.folder / "model.json").write_text("{")


def remove_card(stored: StoredModel) -> None:
    (stored.folder / "model.json").unlink()


def vouch(stored: StoredModel, **changes: object) -> None:
    """Write a card whose digests agree with the files, whatever is in them: what a careless or malicious exporter makes."""
    card = read_card(stored.folder)
    files = {file.file: stored_file(stored.folder / file.file).sha256 for file in card.files}
    variants = [variant.model_copy(update={"sha256": files[variant.file]}) for variant in card.variants]
    golden = card.golden.model_copy(update={"sha256": files[card.golden.file]})
    write_card(
        stored.folder,
        ModelCard.model_validate((card.model_copy(update={"variants": variants, "golden": golden})).model_dump() | changes),
    )


def alter_golden(stored: StoredModel, change: Callable[[dict[str, Any]], None]) -> None:
    path = stored.folder / stored.card.golden.file
    with np.load(path) as golden:
        arrays: dict[str, Any] = dict(golden)
    change(arrays)
    np.savez(path, allow_pickle=True, **arrays)
    vouch(stored)


def shift_scores(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(scores_fp32=arrays["scores_fp32"] + 0.01))


def shift_pixels(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(pixels_sha256=np.array(["0" * 64] * len(arrays["pixels_sha256"]))))


def forget_scores(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.pop("scores_fp32"))


def nan_scores(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(scores_fp32=arrays["scores_fp32"] * np.nan))


def no_images(stored: StoredModel) -> None:
    alter_golden(
        stored, lambda arrays: arrays.update(pixels_sha256=np.array([], dtype="<U64"), scores_fp32=arrays["scores_fp32"][:0])
    )


def undecodable_image(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(file_0=np.frombuffer(b"no picture", np.uint8)))


def pickled(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(scores_fp32=np.array([{"code": "to run"}], dtype=object)))


def no_archive(stored: StoredModel) -> None:
    (stored.folder / stored.card.golden.file).write_bytes(b"PK\x03\x04 half a zip")
    vouch(stored)


def no_graph(stored: StoredModel) -> None:
    (stored.folder / stored.card.variants[0].file).write_bytes(b"no graph")
    vouch(stored)


def wrong_input(stored: StoredModel) -> None:
    """The card says another size than the graph takes."""
    vouch(stored, input={"height": 48, "width": 48})
    alter_golden(stored, lambda arrays: None)


def wrong_labels(stored: StoredModel) -> None:
    vouch(stored, labels=["a", "b", "c"])

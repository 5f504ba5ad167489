"""`parallax models optimize`: smaller, faster variants of a version, each taken only if it classifies as well as fp32 does."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.table import Table

from models import golden, statistics
from models.errors import DatasetError, UsageError
from models.machine import processor, usable_cpus
from models.metadata import Change, ModelCard, Precision, Speed, Variant, stored_file
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from training.data import TrainingSet
from training.progress import advance_bar, bar, console
from training.quantize import to_fp16, to_int8
from training.throughput import images_per_second

MAX_LOSS = 0.005
"""Of the share of right answers on validation images."""

BATCH = 32


@dataclass(frozen=True)
class Verdict:
    """What became of a precision that was asked for."""

    precision: Precision
    how: str
    change: Change
    accepted: bool


def optimize(
    store: Repository, stored: StoredModel, data: TrainingSet, precisions: Sequence[Precision], *, calibration: int, seed: int
) -> list[Verdict]:
    """Make variants, judge each on the validation images against fp32, and add those that hold to the version, with all speeds.

    int8 takes its ranges from so many images (`calibration`) of those that the model learns from. Returns what became of each.

    Raises `UsageError` if a precision is or was there already or fp32 is not, `DatasetError` if the data has other classes,
    `ModelError` if the version is not sound on this machine.
    """
    card = stored.card
    source = _check(stored, precisions)
    validation = _Validation(card, data)
    before = validation.right(stored.folder / source.file)
    images = data.pixels[np.sort(np.random.default_rng(seed).permutation(data.train)[:calibration])]
    folder = store.workspace()
    try:
        verdicts: list[Verdict] = []
        variants = [source.model_copy(update={"validation": statistics.accuracy(int(before.sum()), len(before))})]
        for precision in precisions:
            path = folder / f"model.{precision}.onnx"
            how = _make(stored.folder / source.file, path, precision, images)
            after = validation.right(path)
            change = statistics.change(before, after)
            verdicts.append(Verdict(precision, how, change, change.value >= -MAX_LOSS))
            _tell(verdicts[-1])
            if verdicts[-1].accepted:
                accuracy = statistics.accuracy(int(after.sum()), len(after))
                file = stored_file(path).model_dump()
                variants.append(Variant(precision=precision, **file, validation=accuracy, change=change))
            else:
                path.unlink()
        if len(variants) > 1:
            _add(store, stored, variants, folder)
        return verdicts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(stored: StoredModel, precisions: Sequence[Precision]) -> Variant:
    """The fp32 variant, once the version is known to be sound here."""
    card = stored.card
    where = f"{card.name}/{card.version}"
    source = card.variant("fp32")
    if source is None:
        raise UsageError(f"{where} has no fp32 variant to start from")
    stored.verify()
    known = golden.precisions(stored.folder / card.golden.file)
    if standing := [precision for precision in precisions if precision in known]:
        raise UsageError(
            f"{where} has {', '.join(standing)}, or had it; a file that was served is never replaced. Train a new version."
        )
    model = OnnxModel(stored.folder / source.file, threads=1)
    golden.check(stored.folder / card.golden.file, card.input, "fp32", model.run, model.provider)
    return source


class _Validation:
    """The images that variants are compared on."""

    def __init__(self, card: ModelCard, data: TrainingSet) -> None:
        """Raises `DatasetError` if the model does not know the classes of the data."""
        if unknown := sorted(set(data.labels) - set(card.labels)):
            raise DatasetError(f"{card.name} does not know {', '.join(unknown)}; it knows {', '.join(card.labels)}")
        places = np.array([card.labels.index(label) for label in data.labels], np.int64)
        self._data = data
        self._targets = places[data.targets[data.validation]]

    def right(self, path: Path) -> npt.NDArray[np.bool_]:
        """Which of the images a file names rightly [N]."""
        model = OnnxModel(path, threads=usable_cpus())
        named: list[npt.NDArray[np.int64]] = []
        with bar("images") as progress:
            advance = advance_bar(progress, f"validate {path.name}", len(self._targets))
            for start in range(0, len(self._targets), BATCH):
                batch = self._data.pixels[self._data.validation[start : start + BATCH]]
                named.append(model.run(batch).argmax(axis=1))
                for _ in batch:
                    advance()
        right: npt.NDArray[np.bool_] = np.concatenate(named) == self._targets
        return right


def _make(source: Path, path: Path, precision: Precision, images: npt.NDArray[np.uint8]) -> str:
    """Write a variant, and say how."""
    if precision == "fp16":
        to_fp16(source, path)
        return "softmax in float32"
    to_int8(source, path, images)
    return f"{len(images)} images to calibrate"


def _add(store: Repository, stored: StoredModel, made: Sequence[Variant], folder: Path) -> None:
    """Measure all variants in turns, write golden vectors that hold the new ones' scores, and add it all to the version."""
    card = stored.card
    files = {variant.precision: stored.folder / variant.file for variant in card.variants}
    files |= {variant.precision: folder / variant.file for variant in made[1:]}
    models = {precision: OnnxModel(path, threads=1) for precision, path in files.items()}
    image = golden.images(stored.folder / card.golden.file)[0]
    speeds = images_per_second(models, image, card.input)
    changed = {variant.precision: variant for variant in made}
    kept = [changed.pop(variant.precision, variant) for variant in card.variants]
    variants = [
        variant.model_copy(
            update={
                "size_bytes": files[variant.precision].stat().st_size,
                "speed": Speed(
                    images_per_second=round(speeds[variant.precision], 1),
                    provider=models[variant.precision].provider,
                    processor=processor(),
                    cores=usable_cpus(),
                ),
            }
        )
        for variant in [*kept, *changed.values()]
    ]
    path = folder / f"golden-{'-'.join(variant.precision for variant in variants)}.npz"  # a name that no card vouches for yet
    golden.extend(stored.folder / card.golden.file, path, card.input, {precision: models[precision].run for precision in changed})
    if store.get(card.name, card.version).card != card:
        raise UsageError(f"{card.name}/{card.version} was changed meanwhile; nothing was written. Start again.")
    store.extend(card.model_copy(update={"variants": variants, "golden": stored_file(path)}), folder)
    _show(card, variants)


def _tell(verdict: Verdict) -> None:
    change = verdict.change
    said = "[green]accepted[/]" if verdict.accepted else f"[red]refused[/] (at most {MAX_LOSS * 100:g} points may be lost)"
    console.print(
        f"{verdict.precision}, {verdict.how}: {change.value * 100:+.2f} points against fp32 "
        f"(95 % interval {change.low * 100:+.2f} to {change.high * 100:+.2f}; of {change.images:,} validation images "
        f"{change.lost} lost, {change.gained} gained): {said}",
        highlight=False,
    )


def _show(card: ModelCard, variants: Sequence[Variant]) -> None:
    table = Table("variant", "MB", "images/s", "validation", title=f"{card.name}/{card.version}, {processor()}")
    for variant in variants:
        speed = f"{variant.speed.images_per_second:,.0f}" if variant.speed else ""
        accuracy = f"{variant.validation.value:.1%}" if variant.validation else ""
        table.add_row(variant.precision, f"{(variant.size_bytes or 0) / 1e6:.1f}", speed, accuracy)
    console.print(table)

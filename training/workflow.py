"""What every training run is, read top to bottom: sources -> pixels -> learn -> judge -> export."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Literal, TypeAlias

import numpy as np

from models import prices, statistics
from models.errors import ParallaxError
from models.machine import usable_cpus
from models.metadata import BackboneFacts, TrainingFacts
from models.repository import Repository
from models.tables import print_report
from training.automl_recipe import AutomlRecipe
from training.data import TrainingSet, prepare
from training.progress import advance_bar, bar, console
from training.runs import Run, RunRecord, Stage

LIBRARIES = (
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "keras-hub",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "numpy",
    "pillow",
    "simplejpeg",
)
PARITY_IMAGES = 64


@dataclass(frozen=True)
class Learnt:
    """What a run has come to. Its best network lies in `run.best`."""

    stage: Stage
    """The phase that it came from."""
    complete: bool
    """Whether all was learnt that should be; False after Ctrl-C."""
    seconds: float
    phase: Literal["scratch", "frozen", "fine_tuned"] = "scratch"
    backbones: list[BackboneFacts] = field(default_factory=list)


Learn: TypeAlias = Callable[[Run, RunRecord, TrainingSet], Learnt]


def train(run: Run, store: Repository, learn: Learn, *, skip_unreadable: bool = False) -> Path:
    """Take a run, new or resumed, to its end and put the model into the store. Returns the folder of the new version.

    Raises `ParallaxError` if data, labels or the export don't hold up.
    """
    try:
        return _train(run, store, learn, skip_unreadable)
    except ParallaxError:
        if not run.has_begun:
            run.discard()
        raise


def _train(run: Run, store: Repository, learn: Learn, skip_unreadable: bool) -> Path:
    record = run.read()
    data = _prepare(run, record, store, skip_unreadable)
    record = record.model_copy(update={"labels": data.labels})
    run.write(record)
    _tell(data)
    _keep_parity_images(run, data)

    from training import export, fit  # TensorFlow takes seconds to load: not for a message about a wrong path

    fit.use_machine(record.seed)
    learnt = learn(run, record, data)
    if not learnt.complete:
        console.print("stopped: the best epoch so far is kept")
    facts = judge(run, record, data, learnt)
    run.write(record.model_copy(update={"facts": facts}))
    run.tidy()
    return export.export(run, store)


def _prepare(run: Run, record: RunRecord, store: Repository, skip_unreadable: bool) -> TrainingSet:
    with bar("images") as progress:
        data = prepare(
            record.sources,
            record.excluded,
            record.recipe.input_spec,
            run.pixels,
            left_out=record.left_out,
            skip_unreadable=skip_unreadable,
            progress=lambda text, total: advance_bar(progress, text, total),
        )
    store.check_labels(record.name, data.labels)
    return data


def judge(run: Run, record: RunRecord, data: TrainingSet, learnt: Learnt) -> TrainingFacts:
    """Measure the best weights on the validation images and sum the run up."""
    from training.export import trained_model
    from training.fit import predict

    model = trained_model(run)
    scores = predict(model, data.pixels[data.validation])
    result = statistics.report(data.targets[data.validation], scores.argmax(axis=1), data.labels)
    history, best = learnt.stage.history(), learnt.stage.best_epoch()
    minutes = learnt.seconds / 60
    usd = prices.usd(minutes, record.usd_per_hour)
    print_report(console, f"validation, epoch {best.epoch} of {len(history)}", result)
    console.print(
        f"{minutes:.1f} minutes of training, about {usd:.2f} USD at {record.usd_per_hour:.3f} USD an hour", highlight=False
    )
    return TrainingFacts(
        recipe=record.recipe.kind,
        phase=learnt.phase,
        backbones=learnt.backbones,
        sweep=record.recipe.sweep if isinstance(record.recipe, AutomlRecipe) else None,
        settings=_flat(record.recipe.model_dump(exclude={"sweep"})),
        data=data.data,
        excluded=data.excluded,
        counts=data.counts,
        parameters=model.count_params(),
        epochs=len(history),
        best_epoch=best.epoch,
        validation=result.accuracy,
        minutes=round(minutes, 2),
        usd=round(usd, 4),
        usd_per_hour=record.usd_per_hour,
        seed=record.seed,
        cores=usable_cpus(),
        libraries=_versions(),
        finished=datetime.now(UTC).replace(microsecond=0),
    )


def _keep_parity_images(run: Run, data: TrainingSet) -> None:
    """Keep some validation images with the run, so that its export can be repeated and checked without the sources."""
    step = max(1, len(data.validation) // PARITY_IMAGES)
    np.savez_compressed(run.parity, images=data.pixels[data.validation[::step][:PARITY_IMAGES]])


def _tell(data: TrainingSet) -> None:
    counts = data.counts
    console.print(
        f"{counts.found:,} images of {len(data.labels)} classes ({', '.join(data.labels)}): {counts.train:,} to train, "
        f"{counts.validation:,} to validate; dropped: {counts.left_out} by name, {counts.unreadable} unreadable, "
        f"{counts.in_excluded_set} also in the excluded set, {counts.conflicting_duplicates} duplicates under two labels",
        highlight=False,
    )
    for line in data.unreadable:
        console.print(f"  unreadable: {line}", highlight=False)


def _versions() -> dict[str, str]:
    """Versions of what is installed of `LIBRARIES`: TensorFlow goes by one name or the other."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """A recipe's settings by dotted names, with paths cut to their last name: a card tells nobody's folders."""
    flat: dict[str, str | int | float | bool | None] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, tuple):
            flat[prefix + key] = " ".join(map(str, value))
        elif isinstance(value, str):
            flat[prefix + key] = PurePath(value).name if PurePath(value).is_absolute() or "/" in value else value
        elif value is None or isinstance(value, int | float | bool):
            flat[prefix + key] = value
    return flat

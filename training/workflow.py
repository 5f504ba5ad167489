"""What every training run is, read top to bottom: sources -> pixels -> learn -> judge -> export."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from models import prices, statistics
from models.errors import ParallaxError
from models.machine import usable_cpus
from models.metadata import BackboneFacts, TeacherFacts, TrainingFacts
from models.repository import Repository
from models.tables import print_report
from training import distill
from training.automl_recipe import AutomlRecipe
from training.data import TrainingSet, prepare
from training.progress import advance_bar, bar, console
from training.recipe import flat_settings
from training.runs import Run, RunRecord, Stage
from training.tracking.tracker import Tracker

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
    teacher: TeacherFacts | None = None


Learn: TypeAlias = Callable[[Run, RunRecord, TrainingSet], Learnt]


def train(run: Run, store: Repository, learn: Learn, *, skip_unreadable: bool = False, tracker: Tracker | None = None) -> Path:
    """Take a run, new or resumed, to its end and put the model into the store. Returns the folder of the new version.

    `tracker` follows it, and never stops it. Raises `ParallaxError` if data, labels or the export don't hold up.
    """
    try:
        with tracker or Tracker() as follows:
            return _train(run, store, learn, skip_unreadable, follows)
    except ParallaxError:
        if not run.has_begun:
            run.discard()
        raise


def _train(run: Run, store: Repository, learn: Learn, skip_unreadable: bool, tracker: Tracker) -> Path:
    data = _prepare(run, run.read(), store, skip_unreadable)
    record = run.note(labels=data.labels)
    _tell(data)
    _keep_parity_images(run, data)
    taught = distill.lesson(run, record, data, store)

    from training import export, fit  # TensorFlow takes seconds to load: not for a message about a wrong path

    tracker.begin(run, data)
    fit.use_machine(record.seed)
    learnt = learn(run, record, taught.data if taught else data)
    if not learnt.complete:
        console.print("stopped: the best epoch so far is kept")
    if taught:
        learnt = replace(learnt, seconds=learnt.seconds + taught.seconds, teacher=taught.teacher)
    run.note(facts=judge(run, record, data, learnt))
    run.tidy()
    folder = export.export(run, store)
    tracker.finish(store.get(record.name, folder.name))
    return folder


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
    """Measure the best weights on the validation images and sum the run up. The confusion matrix is noted in the run."""
    from training.export import trained_model
    from training.fit import predict

    model = trained_model(run)
    scores = predict(model, data.pixels[data.validation])
    result = statistics.report(data.targets[data.validation], scores.argmax(axis=1), data.labels)
    run.note(confusion=result.confusion)
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
        teacher=learnt.teacher,
        sweep=record.recipe.sweep if isinstance(record.recipe, AutomlRecipe) else None,
        settings=flat_settings(record.recipe.model_dump(exclude={"sweep"})),
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

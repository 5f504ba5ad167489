"""What MLflow is told of a training run: where it comes from, its epochs, its result, its model. Each thing once."""

import re
from collections.abc import Mapping, Sequence

from models.metadata import DataFile, TestResult, TrainingFacts
from models.repository import StoredModel
from training.recipe import flat_settings
from training.runs import Epoch, Run, RunRecord, Stage
from training.tracking.journal import Journal
from training.tracking.registry import register

Params = Mapping[str, object]
Tags = Mapping[str, str]

PICTURE = "confusion.png"


def origin(record: RunRecord, data: Sequence[DataFile], excluded: Sequence[DataFile]) -> tuple[Params, Tags]:
    """The recipe and the seed as parameters; the data, by digest, as tags."""
    params = {"recipe": record.recipe.kind, "seed": record.seed} | flat_settings(record.recipe.model_dump())
    return params, _data_tags(record.name, data, excluded)


def epochs(journal: Journal, stage: Stage, *, newest_only: bool = False) -> None:
    """The epochs of a phase that MLflow does not know yet; `newest_only`: it knows all but the newest."""
    history = stage.history()
    prefix = f"{stage.name}/" if stage.name else ""
    known = {epoch.epoch for epoch in history[:-1]} if newest_only else journal.steps(f"{prefix}val_accuracy")
    for epoch in history:
        if epoch.epoch not in known:
            journal.measure({prefix + key: value for key, value in _values(epoch).items()}, epoch.epoch)


def result(journal: Journal, stored: StoredModel, run: Run | None) -> str:
    """How it ended, and the model, registered. `run`: its folder, if there is one still. Returns the registered version."""
    facts = stored.card.training
    if run is not None:
        for stage in run.stages():
            epochs(journal, stage)
    if facts is not None:
        if run is None:
            params = {"recipe": facts.recipe, "seed": facts.seed} | facts.settings
            journal.describe(params, _data_tags(stored.card.name, facts.data, facts.excluded))
        else:
            journal.describe(*origin(run.read(), facts.data, facts.excluded))
        if not journal.steps("validation_accuracy"):
            journal.measure(_sums(facts))
    for name, value in _test_accuracies(stored.card.tests).items():
        if not journal.steps(name):
            journal.measure({name: value})
    matrix = run.read().confusion if run is not None else []
    if matrix and PICTURE not in journal.files():
        from training.tracking.picture import draw_confusion

        with journal.folder() as folder:
            draw_confusion(folder / PICTURE, stored.card.labels, matrix, stored.card.name)
    version = register(journal, stored)
    journal.end("FINISHED")
    return version


def _values(epoch: Epoch) -> dict[str, float]:
    return {key: float(value) for key, value in epoch.model_dump(exclude={"epoch"}).items()}


def _sums(facts: TrainingFacts) -> dict[str, float]:
    """Figures of the whole run; intervals are Wilson's at 95 %."""
    return {
        "validation_accuracy": facts.validation.value,
        "validation_accuracy_low": facts.validation.low,
        "validation_accuracy_high": facts.validation.high,
        "minutes": facts.minutes,
        "usd": facts.usd,
        "parameters": float(facts.parameters),
        "epochs": float(facts.epochs),
        "best_epoch": float(facts.best_epoch),
        "train_images": float(facts.counts.train),
        "validation_images": float(facts.counts.validation),
    }


def _test_accuracies(tests: Sequence[TestResult]) -> dict[str, float]:
    """A metric for each test set and precision: MLflow compares the runs that met a set, and charts a set's precisions together.

    A set whose name another had before goes by its digest too. MLflow takes only some characters in a name, and 250 of them.
    """
    told: dict[str, float] = {}
    names: set[str] = set()
    for test in tests:
        name = re.sub(r"[^\w.-]+", "_", test.data.name)[:200]
        name += f"-{test.data.sha256[:8]}" if name in names else ""
        names.add(name)
        told |= {f"{name}/test_accuracy_{precision}": accuracy.value for precision, accuracy in test.accuracy.items()}
    return told


def _data_tags(name: str, data: Sequence[DataFile], excluded: Sequence[DataFile]) -> dict[str, str]:
    def told(files: Sequence[DataFile], key: str) -> dict[str, str]:
        return {f"{key}.{i}": f"{one.name}, {one.images} images, sha256 {one.sha256}" for i, one in enumerate(files, 1)}

    return {"model": name} | told(data, "data") | told(excluded, "excluded")

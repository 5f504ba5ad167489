"""A version meets a test set: every variant's file, through the very function that decodes for the service."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from models import imaging, statistics
from models.datasets import LIMITS, Dataset, LabelledImage, batches, open_dataset
from models.errors import DatasetError, ImageError, UsageError
from models.machine import usable_cpus
from models.metadata import Accuracy, DataFile, InputSpec, Precision, TestResult, Variant
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from models.sources import resolve
from models.tables import print_report

BATCH = 32


def evaluate(
    repository: Repository, stored: StoredModel, sources: Sequence[str], downloads: Path, console: Console
) -> TestResult:
    """Judge every variant that has not met these images and record the result in the card.

    Raises `UsageError` if all have, `DatasetError` if they don't fit its labels or
    one can't be decoded, `BrokenModel` if a file is not what the card says.
    """
    card = stored.card
    stored.verify()
    with ExitStack() as stack:
        sets = [stack.enter_context(open_dataset(resolve(source, downloads))) for source in sources]
        data = _facts(sets)
        before, variants = _first_look(stored, data)
        unknown = sorted({label for dataset in sets for label in dataset.labels} - set(card.labels))
        if unknown:
            raise DatasetError(f"{card.name} does not know {', '.join(unknown)}; it knows {', '.join(card.labels)}")
        models: dict[Precision, OnnxModel] = {
            variant.precision: OnnxModel(stored.folder / variant.file, threads=usable_cpus()) for variant in variants
        }
        targets: list[int] = []
        predicted: dict[Precision, list[npt.NDArray[np.int64]]] = {precision: [] for precision in models}
        images = track(_images(sets), "evaluate", total=data.images, console=console, transient=True)
        for batch in batches(images, BATCH):
            pixels = np.stack([_load(image, card.input) for image in batch])
            targets += [card.labels.index(image.label) for image in batch]
            for precision, model in models.items():
                predicted[precision].append(model.run(pixels).argmax(axis=1))
    accuracy: dict[Precision, Accuracy] = {}
    for precision, parts in predicted.items():
        result = statistics.report(np.array(targets), np.concatenate(parts), card.labels)
        print_report(console, f"{card.name}/{card.version} {precision} on {data.name}", result)
        accuracy[precision] = result.accuracy
    told = {**before.accuracy, **accuracy} if before else accuracy
    record = TestResult(data=data, accuracy=told, evaluated=datetime.now(UTC).replace(microsecond=0))
    tests = [record if test is before else test for test in card.tests] if before else [*card.tests, record]
    repository.update(card.tested(tests))
    return record


def _load(image: LabelledImage, spec: InputSpec) -> imaging.Pixels:
    try:
        return imaging.load(image.data, spec, LIMITS)
    except ImageError as exc:
        raise DatasetError(f"{image.path}: {exc}") from exc


def _first_look(stored: StoredModel, data: DataFile) -> tuple[TestResult | None, list[Variant]]:
    """What these images said of the version before, if they did, and the variants that did not meet them. Raises `UsageError`."""
    before = next((test for test in stored.card.tests if test.data.sha256 == data.sha256), None)
    variants = [variant for variant in stored.card.variants if before is None or variant.precision not in before.accuracy]
    if before is not None and not variants:
        found = ", ".join(f"{precision} {value.value:.1%}" for precision, value in before.accuracy.items())
        raise UsageError(
            f"{stored.card.name}/{stored.card.version} met these images on {before.evaluated:%Y-%m-%d}: {found}. "
            "A test set is met once per version; its result stands in model.json."
        )
    return before, variants


def _facts(sets: Sequence[Dataset]) -> DataFile:
    facts = [dataset.facts() for dataset in sets]
    if len(facts) == 1:
        return facts[0]
    digest = sha256("".join(sorted(fact.sha256 for fact in facts)).encode()).hexdigest()
    return DataFile(name=" + ".join(fact.name for fact in facts), sha256=digest, images=sum(fact.images for fact in facts))


def _images(sets: Sequence[Dataset]) -> Iterator[LabelledImage]:
    for dataset in sets:
        yield from dataset

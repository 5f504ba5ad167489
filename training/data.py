"""Sources of labelled images -> decoded pixels on disk, cut into training and validation.

Images are told apart by what they show, not by their file names: the digest of the decoded pixels decides on which side of
the cut an image falls, whether it stands in an excluded set, and whether two copies of it contradict each other.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models import imaging
from models.datasets import LIMITS, Dataset, LabelledImage, batches, open_dataset
from models.errors import DatasetError, ImageError
from models.machine import usable_cpus
from models.metadata import Counts, DataFile, InputSpec

Advance = Callable[[], None]


@dataclass(frozen=True)
class TrainingSet:
    """Decoded images with their cut. `pixels` is uint8 [n, height, width, 3], memory-mapped: a set may exceed the memory."""

    labels: list[str]
    pixels: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.int64]
    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    counts: Counts
    data: list[DataFile]
    excluded: list[DataFile]
    unreadable: list[str]
    soft_targets: npt.NDArray[np.float32] | None = None
    """Probabilities [train, classes] to learn the training images as, instead of their labels; see `training.distill`."""

    @property
    def train_targets(self) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """What the training images are learnt as: classes [train], or probabilities [train, classes]."""
        return self.targets[self.train] if self.soft_targets is None else self.soft_targets


@dataclass(frozen=True, slots=True)
class _Decoded:
    path: str
    label: str
    digest: str
    pixels: imaging.Pixels
    error: str | None = None


def prepare(
    sources: Sequence[str],
    excluded: Sequence[str],
    spec: InputSpec,
    pixels_file: Path,
    *,
    left_out: Sequence[str] = (),
    validation_share: float = 0.1,
    skip_unreadable: bool = False,
    progress: Callable[[str, int], Advance] = lambda _text, _total: lambda: None,
) -> TrainingSet:
    """Decode every image of `sources` once into `pixels_file` and cut the set, without the paths (`sea/1.jpg`) in `left_out`.

    `progress(text, total)` is asked for a function to call after each image. Raises `DatasetError`, naming the file at fault.
    """
    with ExitStack() as stack:
        sets = [stack.enter_context(open_dataset(source)) for source in sources]
        excluded_sets = [stack.enter_context(open_dataset(source)) for source in excluded]
        labels = sorted({label for dataset in sets for label in dataset.labels})
        if len(labels) < 2:
            raise DatasetError(
                f"{', '.join(sources)}: one class only ({labels[0]}); a classifier needs two or more class folders"
            )
        forbidden = {
            image.digest
            for image in _decode_all(excluded_sets, spec, progress("excluded", sum(map(len, excluded_sets))))
            if image.error is None
        }
        found = sum(map(len, sets))
        pixels = np.lib.format.open_memmap(pixels_file, "w+", np.uint8, (found, spec.height, spec.width, 3))
        digests: list[str | None] = []
        targets = np.zeros(found, np.int64)
        unreadable: list[str] = []
        missing, unwanted_found = set(left_out), 0
        for row, image in enumerate(_decode_all(sets, spec, progress("decode", found))):
            targets[row] = labels.index(image.label)
            unwanted = image.path in left_out
            missing.discard(image.path)
            digests.append(None if image.error or unwanted else image.digest)
            if unwanted:
                unwanted_found += 1
            elif image.error:
                unreadable.append(f"{image.path}: {image.error}")
            else:
                pixels[row] = image.pixels
        pixels.flush()
        if missing:
            raise DatasetError(f"to be left out, but in none of the sources: {', '.join(sorted(missing))}")
        if unreadable and not skip_unreadable:
            listed = "\n  ".join(unreadable[:20])
            counted = f"{len(unreadable)} of {found} images"
            raise DatasetError(f"unreadable: {counted} (--skip-unreadable goes on without them):\n  {listed}")
        facts = [dataset.facts() for dataset in sets]
        excluded_facts = [dataset.facts() for dataset in excluded_sets]

    conflicting = _conflicts(digests, targets)
    kept = [
        (row, digest) for row, digest in enumerate(digests) if digest and digest not in forbidden and digest not in conflicting
    ]
    validation_digests = _validation_digests(kept, targets, validation_share)
    train = np.array([row for row, digest in kept if digest not in validation_digests], np.int64)
    validation = np.array([row for row, digest in kept if digest in validation_digests], np.int64)
    for number, label in enumerate(labels):
        if not (targets[train] == number).any() or not (targets[validation] == number).any():
            raise DatasetError(f"class {label!r} has too few usable images: it takes at least two different ones")
    counts = Counts(
        found=found,
        left_out=unwanted_found,
        unreadable=len(unreadable),
        in_excluded_set=sum(digest in forbidden for digest in digests if digest),
        conflicting_duplicates=sum(digest in conflicting and digest not in forbidden for digest in digests if digest),
        train=len(train),
        validation=len(validation),
    )
    return TrainingSet(labels, pixels, targets, train, validation, counts, facts, excluded_facts, unreadable)


def pixel_digest(pixels: imaging.Pixels) -> str:
    """SHA-256 of decoded pixels and their shape: equal for two files that show exactly the same."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _decode_all(sets: Sequence[Dataset], spec: InputSpec, advance: Advance) -> Iterator[_Decoded]:
    """Decode on all cores, in order, holding a bounded number of images in memory."""
    nothing = np.zeros((0, 0, 3), np.uint8)

    def decode(image: LabelledImage) -> _Decoded:
        try:
            pixels = imaging.decode(image.data, LIMITS)
        except ImageError as exc:
            return _Decoded(image.path, image.label, "", nothing, str(exc))
        return _Decoded(image.path, image.label, pixel_digest(pixels), imaging.resize(pixels, spec))

    with ThreadPoolExecutor(usable_cpus()) as pool:
        for images in batches((image for dataset in sets for image in dataset), 64):
            for decoded in pool.map(decode, images):
                advance()
                yield decoded


def _conflicts(digests: Sequence[str | None], targets: npt.NDArray[np.int64]) -> set[str]:
    """Digests that stand under more than one label: nobody can say which of them is right."""
    first: dict[str, int] = {}
    conflicting = set()
    for digest, target in zip(digests, targets, strict=True):
        if digest and first.setdefault(digest, int(target)) != target:
            conflicting.add(digest)
    return conflicting


def _validation_digests(kept: Sequence[tuple[int, str]], targets: npt.NDArray[np.int64], share: float) -> set[str]:
    """The same share of every class, by digest: copies stay together, and neither order nor file names matter."""
    chosen: set[str] = set()
    for target in np.unique(targets[[row for row, _ in kept]]):
        unique = sorted({digest for row, digest in kept if targets[row] == target})
        chosen.update(unique[: math.ceil(len(unique) * share)])
    return chosen

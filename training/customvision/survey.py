"""What of labelled images belongs into a project: each once, under one tag, as the service takes them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from models.custom_vision_limits import LIMITS, MAX_TRAINING_BYTES, Tier
from models.datasets import LabelledImage, open_dataset
from models.errors import ImageError, UsageError
from training.customvision.fitting import fitted


@dataclass(frozen=True)
class Problem:
    """An image that does not get there, and why."""

    path: str
    reason: str


@dataclass
class Survey:
    """Digests of the files to send with their labels, and what was left out."""

    labels: dict[str, str] = field(default_factory=dict)
    """By the SHA-256 of what is sent."""
    same: int = 0
    """Copies of an image under the same label."""
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Ready:
    """An image as it is sent."""

    path: str
    label: str
    sha256: str
    data: bytes


def survey(sources: Sequence[str], step: Callable[[], None] = lambda: None) -> Survey:
    """Read everything once. Copies under two labels are left out, both: nobody can say which one is right."""
    found = Survey()
    paths: dict[str, list[LabelledImage]] = {}
    for image in _images(sources):
        step()
        try:
            digest = hashlib.sha256(fitted(image.data, MAX_TRAINING_BYTES)).hexdigest()
        except ImageError as exc:
            found.problems.append(Problem(image.path, str(exc)))
            continue
        paths.setdefault(digest, []).append(LabelledImage(image.path, image.label, b""))
    for digest, copies in paths.items():
        if len({copy.label for copy in copies}) == 1:
            found.labels[digest] = copies[0].label
            found.same += len(copies) - 1
        else:
            names = ", ".join(sorted({copy.label for copy in copies}))
            found.problems += [Problem(copy.path, f"The same image stands under {names}.") for copy in copies]
    return found


def ready(sources: Sequence[str], wanted: Mapping[str, str]) -> Iterator[Ready]:
    """Read everything again, and give what is wanted, by its digest, once."""
    outstanding = set(wanted)
    for image in _images(sources):
        if not outstanding:
            return
        try:
            data = fitted(image.data, MAX_TRAINING_BYTES)
        except ImageError:
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest in outstanding and image.label == wanted[digest]:
            outstanding.remove(digest)
            yield Ready(image.path, image.label, digest, data)


def total(sources: Sequence[str]) -> int:
    """How many images there are."""
    with ExitStack() as stack:
        return sum(len(stack.enter_context(open_dataset(source))) for source in sources)


def check_tier(tier: Tier, images: int, tags: int, project: str) -> None:
    """Refuse, before a call costs anything, what a project of a tier can't hold. Raises `UsageError`."""
    limits = LIMITS[tier]
    for count, most, what in ((images, limits.max_images, "images"), (tags, limits.max_tags, "tags")):
        if count > most:
            way = "A resource of tier S0 holds 100,000 images and 500 tags" if tier == "F0" else "Split it into projects"
            raise UsageError(
                f"{project} would have {count:,} {what}, and a project of tier {tier} holds {most:,}. {way}; nothing was sent."
            )


def _images(sources: Sequence[str]) -> Iterator[LabelledImage]:
    for source in sources:
        with open_dataset(source) as dataset:
            yield from dataset

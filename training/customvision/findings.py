"""What a duel of two backends comes to: numbers, and a verdict that says how sure it is."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from models import statistics
from models.metadata import Accuracy, Change
from training.customvision.duel import Round, Said

HOURS_A_MONTH = 730.0
PERCENTILES = (50, 95)


class Tag(BaseModel):
    """One label: how often each said it, and how often both did; of its own images, how many each knew."""

    model_config = ConfigDict(frozen=True)

    label: str
    cloud: int
    local: int
    both: int
    images: int | None = None
    cloud_right: int | None = None
    local_right: int | None = None


class Swap(BaseModel):
    """How often one said this and the other that."""

    model_config = ConfigDict(frozen=True)

    cloud: str
    local: str
    images: int


class Findings(BaseModel):
    """Of the images that both answered."""

    model_config = ConfigDict(frozen=True)

    images: int
    failed: dict[str, int]
    """Images that one of them has no answer for, by whom and why."""
    agreement: Accuracy
    tags: list[Tag]
    swaps: list[Swap]
    """Most frequent first."""
    differing: list[str]
    """Paths of images that they differ on."""
    cloud_ms: dict[str, float]
    """Percentiles of the time that an answer takes."""
    local_ms: dict[str, float]
    cloud_accuracy: Accuracy | None = None
    local_accuracy: Accuracy | None = None
    change: Change | None = None
    """Of accuracy, from the cloud's to the local one's."""


def findings(rounds: Sequence[Round]) -> Findings | None:
    """Count; None if there is no image that both answered. Accuracy is there if every image has a label."""
    failed = Counter(
        f"{who}: {outcome}"
        for one in rounds
        for who, outcome in (("cloud", one.cloud), ("local", one.local))
        if isinstance(outcome, str)
    )
    pairs = [(one, one.cloud, one.local) for one in rounds if isinstance(one.cloud, Said) and isinstance(one.local, Said)]
    if not pairs:
        return None
    cloud = [said.label for _, said, _ in pairs]
    local = [said.label for _, _, said in pairs]
    truth = [one.label for one, _, _ in pairs]
    same = np.array([a == b for a, b in zip(cloud, local, strict=True)])
    found = Findings(
        images=len(pairs),
        failed=dict(failed),
        agreement=statistics.accuracy(int(same.sum()), len(pairs)),
        tags=_tags(cloud, local, truth),
        swaps=[
            Swap(cloud=a, local=b, images=count)
            for (a, b), count in Counter(pair for pair in zip(cloud, local, strict=True) if pair[0] != pair[1]).most_common()
        ],
        differing=[one.path for (one, _, _), alike in zip(pairs, same, strict=True) if not alike],
        cloud_ms=_percentiles([said.ms for _, said, _ in pairs]),
        local_ms=_percentiles([said.ms for _, _, said in pairs]),
    )
    if None in truth:
        return found
    right = [np.array([a == b for a, b in zip(names, truth, strict=True)]) for names in (cloud, local)]
    return found.model_copy(
        update={
            "cloud_accuracy": statistics.accuracy(int(right[0].sum()), len(pairs)),
            "local_accuracy": statistics.accuracy(int(right[1].sum()), len(pairs)),
            "change": statistics.change(*right),
        }
    )


def verdict(found: Findings, margin: float) -> str:
    """Whether the local backend can take the cloud's place, and how sure that is.

    `margin`: by how much accuracy may fall, as a share. With labels it is a test of non-inferiority: the whole 95 % interval of
    the change must lie above -margin.
    """
    change = found.change
    if change is None:
        agreement = found.agreement
        return (
            f"They agree on {agreement.value:.1%} of {found.images:,} images (95 % interval {agreement.low:.1%} to "
            f"{agreement.high:.1%}). Who is right where they differ, only labels can tell: sort the {len(found.differing):,} "
            "images that they differ on, and as many of the others as you can, into class folders, and compare again."
        )
    span = f"{change.value * 100:+.1f} points (95 % interval {change.low * 100:+.1f} to {change.high * 100:+.1f})"
    if change.low >= -margin:
        return f"Move: accuracy changes by {span}, which is no loss of more than {margin * 100:g} points."
    if change.high < -margin:
        return f"Don't move yet: accuracy changes by {span}, a loss of more than {margin * 100:g} points."
    room = change.value + margin
    if room <= 0:
        return f"Don't move yet: accuracy changes by {span}; whether that is more than {margin * 100:g} points is not certain."
    more = found.images * ((change.value - change.low) / room) ** 2  # the interval narrows with the root of the images
    return (
        f"Not certain yet: accuracy changes by {span}, and a loss of more than {margin * 100:g} points can't be ruled out. About "
        f"{_rounded(more):,} labelled images would tell, if the difference stays what it is."
    )


def usd_a_month(images: int, *, usd_per_1000: float | None = None, usd_per_hour: float | None = None) -> float | None:
    """What a month of so many images costs, by the call or by the hour of a machine that runs all month."""
    if usd_per_1000 is not None:
        return images / 1000 * usd_per_1000
    return None if usd_per_hour is None else usd_per_hour * HOURS_A_MONTH


def _tags(cloud: Sequence[str], local: Sequence[str], truth: Sequence[str | None]) -> list[Tag]:
    labelled = None not in truth
    known = sorted({*cloud, *local, *(label for label in truth if label is not None)})
    rows = list(zip(cloud, local, truth, strict=True))
    return [
        Tag(
            label=label,
            cloud=cloud.count(label),
            local=local.count(label),
            both=sum(a == b == label for a, b, _ in rows),
            images=truth.count(label) if labelled else None,
            cloud_right=sum(a == true == label for a, _, true in rows) if labelled else None,
            local_right=sum(b == true == label for _, b, true in rows) if labelled else None,
        )
        for label in known
    ]


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {
        f"p{rank}": round(float(value), 2) for rank, value in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    }


def _rounded(images: float) -> int:
    """Two digits of it: more would be pretended."""
    digits = max(0, len(str(int(images))) - 2)
    return int(-(-images // 10**digits) * 10**digits)

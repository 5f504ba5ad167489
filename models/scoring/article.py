"""What the article measured in January 2023, to stand beside what a run on the same pictures measures.

Tomas Kubica, AI v Azure prakticky: AutoML v. Custom Vision v. TensorFlow, on the Intel scenes. It names accuracies, training
times and costs; nothing else was measured. The images are the official test set's 3,000, on which three of the four ways also
stopped their training or chose their model: that flatters them.
"""

from collections.abc import Collection
from dataclasses import dataclass

from models.metadata import Accuracy
from models.scoring.results import BackendResult, Scoring
from models.statistics import accuracy

LABELS = frozenset({"buildings", "forest", "glacier", "mountain", "sea", "street"})
IMAGES = 3000


@dataclass(frozen=True)
class Told:
    """One way, as the article tells of it."""

    way: str
    title: str
    share: float
    minutes: float
    usd: float

    @property
    def accuracy(self) -> Accuracy:
        """With the interval that 3,000 images give."""
        return accuracy(round(self.share * IMAGES), IMAGES)


TOLD = (
    Told("cnn", "Own CNN, from scratch", 0.819, 12, 0.26),
    Told("transfer", "Transfer learning, own code", 0.917, 15, 0.31),
    Told("automl", "AutoML, the best of its models", 0.958, 168, 3.70),
    Told("custom_vision", "Custom Vision", 0.9493, 240, 40),
)

OWN = {"residual": "cnn"}
"""Recipes of ours that are one of its ways under another name: a network of one's own, from scratch."""


@dataclass(frozen=True)
class Beside:
    """A way of the article, and the backends of this run that went the same way."""

    told: Told
    measured: tuple[BackendResult, ...]


def is_intel(labels: Collection[str]) -> bool:
    """Whether these are the classes of the article's set."""
    return set(labels) == LABELS


def beside(result: Scoring) -> list[Beside]:
    """The article's table next to the measured one; empty if the set is another, or has no labels."""
    if not is_intel(result.labels) or not any(one.quality for one in result.backends):
        return []
    return [Beside(told, tuple(one for one in result.backends if way(one) == told.way)) for told in TOLD]


def way(one: BackendResult) -> str | None:
    """Which of the article's ways a backend went: by its training's recipe, else by its kind or name."""
    known = {told.way: told.way for told in TOLD} | OWN
    recipe = one.facts.training.recipe if one.facts.training else None
    named = (recipe, one.facts.kind, one.facts.name)
    return next((known[word] for word in named if word in known), None)

"""What the stand-in's account holds. The server changes it on its event loop; a test may look, and prepare, before it asks."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np

from models import imaging

Tier: TypeAlias = Literal["F0", "S0"]
Classifier: TypeAlias = Callable[[bytes], Sequence[float]]
"""Probabilities of an encoded image, in the order of the project's tags."""

PREDICTION_KEY = "the-prediction-key-of-the-stand-in"
TRAINING_KEY = "the-training-key-of-the-stand-in"
GENERAL_COMPACT = "0732100f-1a38-4e49-a514-c9b44c697ab5"


def new_id() -> str:
    """As the service makes them."""
    return str(uuid.uuid4())


def now() -> str:
    """As the service writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def by_brightness(tags: int) -> Classifier:
    """The darker an image, the earlier the tag. Raises `ImageError` for what is no image."""

    def classify(image: bytes) -> Sequence[float]:
        place = float(np.mean(imaging.decode(image))) / 255 * (tags - 1)
        weights = np.exp(-((np.arange(tags) - place) ** 2) * 4)
        return [float(one) for one in weights / weights.sum()]

    return classify


@dataclass
class Tag:
    """A class of a project."""

    name: str
    id: str = field(default_factory=new_id)


@dataclass
class StoredImage:
    """A training image."""

    data: bytes
    tags: list[str]
    """Their ids."""
    id: str = field(default_factory=new_id)
    created: str = field(default_factory=now)

    @property
    def digest(self) -> str:
        """What the service knows a copy by."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class Iteration:
    """What a training made, or is making."""

    name: str
    id: str = field(default_factory=new_id)
    status: str = "Completed"
    publish_name: str | None = None
    classifier: Classifier | None = None
    created: str = field(default_factory=now)
    tags: list[str] = field(default_factory=list)
    """Ids of those that it was trained with."""
    exports: list[dict[str, object]] = field(default_factory=list)
    means: list[list[float]] = field(default_factory=list)
    """What training found: the mean colour of each of its tags, RGB 0..255."""
    domain: str = GENERAL_COMPACT
    budget_hours: int = 0
    looks: int = 0
    """How often it is still seen in training."""
    learnt_from: frozenset[tuple[str, tuple[str, ...]]] = frozenset()
    """Images with their tags, by id."""


@dataclass
class Project:
    """Images, tags and iterations."""

    name: str
    id: str = field(default_factory=new_id)
    domain: str = GENERAL_COMPACT
    classification_type: str = "Multiclass"
    tags: list[Tag] = field(default_factory=list)
    images: dict[str, StoredImage] = field(default_factory=dict)
    iterations: list[Iteration] = field(default_factory=list)
    created: str = field(default_factory=now)


@dataclass
class Account:
    """A training and a prediction resource."""

    tier: Tier = "S0"
    projects: dict[str, Project] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    """Exported zips, by their names in the storage account."""

    def published(self, labels: Sequence[str], name: str = "production", classifier: Classifier | None = None) -> Project:
        """A project with one published iteration, ready to be asked: by default it goes by brightness, darkest tag first."""
        project = Project("scenes", tags=[Tag(label) for label in labels])
        found = classifier or by_brightness(len(labels))
        tags = [tag.id for tag in project.tags]
        project.iterations.append(Iteration("Iteration 1", publish_name=name, classifier=found, tags=tags))
        self.projects[project.id] = project
        return project

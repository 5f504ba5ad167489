"""What is known before anything is measured: who was asked, at which price, and how."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from models.metadata import ModelCard

Mode: TypeAlias = Literal["latency", "throughput"]
"""`latency`: one image at a time; `throughput`: as many as the backend takes. Times of the two are never compared."""


class Frozen(BaseModel):
    """A value that travels: nobody changes it, and it has no field that nobody declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Training(Frozen):
    """What it took to make a backend's model."""

    recipe: str
    """`cnn`, `transfer`, `automl`, `custom_vision`, or another way's name."""
    minutes: float | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0)
    data: tuple[str, ...] = ()
    """sha256 of the files whose images it learnt from."""


class Terms(Frozen):
    """What a backend's answers cost, and what its model did, when a run came to it. Prices and models change later."""

    usd_per_hour: float | None = Field(default=None, ge=0)
    """Of the machine that it runs on. None: it is paid by the call, or nobody knows."""
    usd_per_call: float | None = Field(default=None, ge=0)
    price_source: str | None = None
    """Who says so, for people."""
    training: Training | None = None


class BackendFacts(Terms):
    """A backend as the run pinned it."""

    name: str
    kind: str
    version: str
    precision: str
    provider: str
    labels: tuple[str, ...]
    """Its own words, in the order of its scores."""
    words: Mapping[str, str] = Field(default_factory=dict)
    """What the data set calls them, where that differs. Rows have the backend's own words."""
    seconds: float | None = Field(default=None, gt=0)
    """Between its first image and its last, without the time in which a stopped run lay still."""

    @property
    def title(self) -> str:
        """Name, version and precision, for a heading."""
        return f"{self.name} {self.version} {self.precision}".strip()


class RunFacts(Frozen):
    """What was asked for, and how it went."""

    dataset: str
    sha256: str | None = None
    images: int = Field(ge=0)
    """In the run; rows may be fewer, if it was stopped."""
    mode: Mode
    concurrency: int | None = Field(default=None, ge=1)
    state: str = "succeeded"
    """`succeeded`, `failed` or `cancelled`."""
    reason: str | None = None
    """Why it did not succeed."""
    machine: str | None = None
    """Processor, cores and GPU, for people; of all machines that worked on it."""
    started: datetime | None = None
    finished: datetime | None = None
    seed: int | None = None


def training_of(card: ModelCard) -> Training | None:
    """What a version's card says of its training; None if it was trained elsewhere."""
    facts = card.training
    if facts is None:
        return None
    data = tuple(file.sha256 for file in facts.data)
    return Training(recipe=facts.recipe, minutes=facts.minutes, usd=facts.usd, data=data)

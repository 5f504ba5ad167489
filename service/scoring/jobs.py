"""What is known of a scoring job, apart from its rows."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from models.scoring.facts import Terms
from service.domain import Identity
from service.scoring.options import Options

State: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OPEN: frozenset[State] = frozenset({"queued", "running"})
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


NOT_NOTED = Terms()
LONGEST_PATH = 1024
"""Characters of an image's path or address."""


class Task(NamedTuple):
    """One image to be scored."""

    image: str
    """As its row has it, and as its source finds it."""
    label: str | None


@dataclass(frozen=True)
class Progress:
    """How far a job is with one backend."""

    pinned: Identity
    total: int
    done: int = 0
    failed: int = 0
    """Of `done`, those without an answer."""
    correct: int = 0
    seconds: float = 0.0
    """How long its images were worked on."""
    terms: Terms = NOT_NOTED
    """Of the time when that began."""


@dataclass(frozen=True)
class Job:
    """A job as the database has it."""

    id: str
    state: State
    created: float
    began: float | None
    ended: float | None
    caller: str
    options: Options
    dataset: dict[str, Any]
    """`name`, `kind`, `images`, `labelled`, `labels`, and what its source needs to open it again."""
    cancel: bool
    note: str | None
    backends: Sequence[Progress]
    machine: str | None = None
    """What worked on it, in words."""

    @property
    def done(self) -> int:
        """Rows there are."""
        return sum(one.done for one in self.backends)

    @property
    def total(self) -> int:
        """Rows there will be: images times backends."""
        return sum(one.total for one in self.backends)


@dataclass(frozen=True)
class NewJob:
    """A job to be: what was asked for, and what came of it."""

    id: str
    caller: str
    options: Options
    dataset: dict[str, Any]
    pinned: Sequence[Identity]
    tasks: Sequence[Task]
    request: str
    """Digest of what was asked for."""
    idempotency: str | None = None


class Event(NamedTuple):
    """Something that happened to a job."""

    number: int
    at: float
    kind: str
    data: dict[str, Any]


def packed(tasks: Sequence[Task]) -> bytes:
    """Images and labels for the database."""
    return zlib.compress(json.dumps(tasks).encode("utf-8", "surrogatepass"))


def unpacked(data: bytes) -> list[Task]:
    """What `packed` was given."""
    return [Task(*one) for one in json.loads(zlib.decompress(data))]

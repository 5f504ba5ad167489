"""What the service asks of a backend, and of what could become one."""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from service.domain import Identity, Inferred
from service.tally import Tally
from service.tuning import Fixed, Measured, Plan

In = TypeVar("In")


class Backend(Protocol[In]):
    """One classifier. `prepare` runs on a decoding thread, everything else on the event loop."""

    @property
    def identity(self) -> Identity:
        """Who answers."""
        ...

    @property
    def max_batch_size(self) -> int:
        """Images that one `infer` takes at most; of background work it may be more (`Tunable.max_background`)."""
        ...

    @property
    def max_in_flight(self) -> int:
        """Calls of `infer` that may be under way."""
        ...

    @property
    def remote(self) -> bool:
        """Whether it answers from elsewhere: then its state never affects the service's own readiness."""
        ...

    @property
    def decodes(self) -> bool:
        """Whether `infer` takes encoded images too, and prepares the small ones itself, which spares them a thread."""
        ...

    @property
    def tunable(self) -> "Tunable | None":
        """How its plan is measured and changed, if it has one."""
        ...

    @property
    def tally(self) -> Tally | None:
        """What its calls came to, if it calls somebody."""
        ...

    async def start(self) -> None:
        """Get what `infer` needs: threads, connections. Comes once, before anything else."""
        ...

    def prepare(self, data: bytes) -> In:
        """Make of an encoded image what `infer` takes. Raises `ImageError`."""
        ...

    def infer(self, batch: Sequence[In | bytes]) -> Awaitable[Sequence[Inferred | Exception]]:
        """What became of each image, in order.

        An error that is raised ends the whole batch, one that is returned its own image: an `ImageError`, `TooBig` for an
        encoded image that must be prepared elsewhere, or `BackendFailed`.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What `/v1/backends` shows beyond the identity: input, plan, notes. JSON values."""
        ...

    async def close(self) -> None:
        """Give back what it holds. No `infer` is under way any more."""
        ...


class TooBig(Exception):
    """An encoded image that would hold up its lane: prepare it on the thread for big ones."""


TuningState: TypeAlias = Literal["off", "waiting", "running", "tuned"]
PlanSource: TypeAlias = Literal["default", "settings", "inherited", "kept", "measured"]


@dataclass
class Tuning:
    """Where a plan came from, whether it is yet to be measured, and what was."""

    state: TuningState
    source: PlanSource
    measured: list[Measured] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Rival:
    """A variant that does not serve: what it does on this machine decides whether the next load takes it instead."""

    precision: str
    load: Callable[[], Backend[Any]]
    """Blocks, on a thread. Raises `ModelError`."""


class Tunable(Protocol):
    """A backend whose plan can be measured on this machine."""

    @property
    def plan(self) -> Plan:
        """In use."""
        ...

    @property
    def max_background(self) -> int:
        """Images of background work that one `infer` takes at most, where nobody else is there: `max_batch_size` or more."""
        ...

    @property
    def threads_alone(self) -> int:
        """On which an image runs that finds nobody else there."""
        ...

    @property
    def most_alone(self) -> int:
        """How many there could be; one leaves nothing to measure."""
        ...

    @property
    def tuning(self) -> Tuning:
        """What is known of it; the tuner writes here."""
        ...

    @property
    def fixed(self) -> Fixed:
        """What the settings leave no choice about."""
        ...

    @property
    def rivals(self) -> list[Rival]:
        """The variants to measure as well. The tuner takes off those that it is done with."""
        ...

    @property
    def plan_key(self) -> Sequence[str]:
        """What of the model its speed depends on."""
        ...

    @property
    def default(self) -> Plan:
        """What it starts on where nothing was measured."""
        ...

    @property
    def cpus(self) -> int:
        """Processors to plan for."""
        ...

    def measure(self, plan: Plan, stop: threading.Event) -> float:
        """Images per second under a plan. Blocks a fraction of a second; raises `lanes.Interrupted` as soon as `stop` is set."""
        ...

    def measure_alone(self, threads: int, stop: threading.Event) -> float:
        """Images per second, one after the other with nobody beside, on so many threads. Blocks and raises as `measure`."""
        ...

    async def adopt(self, plan: Plan, threads_alone: int | None = None) -> None:
        """Go over to a plan, and to so many threads for an image that is alone (None: as before).

        Batches under way end as they began.
        """
        ...


@dataclass(frozen=True)
class Candidate:
    """A version that could be served. Without `load` it is known to be unfit, for `reason`."""

    version: str
    load: Callable[[Plan | None], Backend[Any]] | None = None
    """Blocks, on a thread. Takes the plan of the version whose place it will take, if there is one. Raises `ModelError`."""
    reason: str = ""
    load_as: Callable[[str], Backend[Any]] | None = None
    """`load` in a given precision, for who began with it; None: there is only one. Raises `ModelError`."""
    stamp: object = None
    """Differs when the version's files do: what is served already need not be loaded again."""

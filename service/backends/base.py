"""What the service asks of a backend, and of what could become one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from service.domain import Identity, Scores

In = TypeVar("In")


class Backend(Protocol[In]):
    """One classifier. `prepare` runs on a decoding thread, everything else on the event loop."""

    @property
    def identity(self) -> Identity:
        """Who answers."""
        ...

    @property
    def max_batch_size(self) -> int:
        """Images that one `infer` takes at most."""
        ...

    @property
    def max_in_flight(self) -> int:
        """Calls of `infer` that may run side by side."""
        ...

    @property
    def remote(self) -> bool:
        """Whether it answers from elsewhere: then its state never affects the service's own readiness."""
        ...

    def prepare(self, data: bytes) -> In:
        """Make of an encoded image what `infer` takes. Raises `ImageError`."""
        ...

    async def infer(self, batch: Sequence[In]) -> Sequence[Scores]:
        """Scores of each image, in order. An error ends the whole batch."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What `/v1/backends` shows beyond the identity: input, plan, notes. JSON values."""
        ...

    async def close(self) -> None:
        """Give back what it holds. No `infer` is under way any more."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A version that could be served. Without `load` it is known to be unfit, for `reason`."""

    version: str
    load: Callable[[], Backend[Any]] | None = None
    """Blocks, on a thread. Raises `ModelError`."""
    reason: str = ""

"""A backend that serves, with its queue, its places and its counters, from its first request to its last."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.admission import Admission
from service.backends.base import Backend, Candidate
from service.batching import Batcher
from service.domain import Batch, Identity, Inferred, Sizes
from service.settings import Settings
from service.tuning import Plan

log = logging.getLogger("parallax.registry")

OnBatch = Callable[[Identity, Batch], None]

LAST_GRACE_S = 1.0
"""For batches whose callers were cancelled when the grace time ended."""


@dataclass
class Counters:
    """What became of a backend's requests since it was loaded."""

    answered: int = 0
    failed: int = 0
    refused: int = 0


class Pins:
    """Those who need this very version for as long as they run, whatever takes its place."""

    def __init__(self) -> None:
        self._count = 0
        self._gone = asyncio.Event()
        self._gone.set()

    def __enter__(self) -> None:
        self._count += 1
        self._gone.clear()

    def __exit__(self, *_exc: object) -> None:
        self._count -= 1
        if not self._count:
            self._gone.set()

    async def gone(self) -> None:
        """Wait until nobody needs it."""
        await self._gone.wait()


@dataclass(frozen=True, eq=False)
class Running:
    """Made by `start`, ended by `retire` or `close`."""

    backend: Backend[Any]
    batcher: Batcher[Any, Inferred]
    admission: Admission
    stamp: object
    """The candidate's."""
    counters: Counters = field(default_factory=Counters)
    pins: Pins = field(default_factory=Pins)

    @classmethod
    async def start(cls, backend: Backend[Any], candidate: Candidate, settings: Settings, on_batch: OnBatch) -> "Running":
        """Give a loaded backend what it needs to take requests."""
        await backend.start()
        batcher: Batcher[Any, Inferred] = Batcher(
            backend.infer,
            _sizes(backend),
            max_wait=settings.max_wait_ms / 1000,
            on_batch=lambda batch: on_batch(backend.identity, batch),
            in_context=backend.remote,  # its calls are steps of the trace of the image that they are about
        )
        return cls(backend, batcher, Admission(settings.max_queue, lambda: batcher.seconds_per_item), candidate.stamp)

    @property
    def identity(self) -> Identity:
        """Who answers. A remote backend may learn its labels while it serves."""
        return self.backend.identity

    @property
    def plan(self) -> Plan | None:
        """What it runs on, if it has a plan."""
        return self.backend.tunable.plan if self.backend.tunable else None

    @property
    def proven_plan(self) -> Plan | None:
        """What it runs on, unless that is a default, which another network would have its own of."""
        tunable = self.backend.tunable
        return None if tunable is None or tunable.plan == tunable.fixed.apply(tunable.default) else tunable.plan

    async def adopt(self, plan: Plan, threads_alone: int) -> None:
        """Go over to another plan, under way as it is."""
        if self.backend.tunable:
            await self.backend.tunable.adopt(plan, threads_alone)
            self.batcher.resize(_sizes(self.backend))

    async def retire(self, patience: float) -> None:
        """Let everyone who is inside have their answer, then close. Newcomers must have been sent elsewhere before.

        `patience`: seconds, after which whoever is still there is refused. Who pinned it is waited for first, however long.
        """
        await self.pins.gone()
        try:
            async with asyncio.timeout(patience):
                await self.admission.emptied()
        except TimeoutError:
            described = {"backend": self.identity.name, "held": self.admission.held}
            log.warning("a retired backend still holds requests", extra=described)
        await self.close()

    async def close(self) -> None:
        """Answer everyone who was accepted, then close the backend."""
        try:
            async with asyncio.timeout(LAST_GRACE_S):
                await self.batcher.close()
        except TimeoutError:
            self.batcher.abandon()
        await self.backend.close()


def _sizes(backend: Backend[Any]) -> Sizes:
    """Beside urgent work a lane takes what one inference takes, of the several that it takes at a time."""
    size, in_flight = backend.max_batch_size, backend.max_in_flight
    if backend.tunable is None:
        return Sizes.alike(size, in_flight)
    return Sizes(size, in_flight, backend.tunable.max_background, backend.tunable.plan.batch_size)

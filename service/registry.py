"""What is served: names -> running backends, each with its queue."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import ModelError
from service.admission import Admission
from service.backends.base import Backend, Candidate
from service.batching import Batch, Batcher
from service.domain import Identity, Scores
from service.errors import ConfigurationError, NotReady, UnknownBackend, UnknownVersion
from service.settings import Settings

log = logging.getLogger("parallax.registry")

LAST_GRACE_S = 1.0
"""For batches whose callers were cancelled when the grace time ended."""


@dataclass
class Counters:
    """What became of a backend's requests since it was loaded."""

    answered: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Running:
    """A backend that serves, with its batcher, its places and its counters."""

    backend: Backend[Any]
    batcher: Batcher[Any, Scores]
    admission: Admission
    counters: Counters = field(default_factory=Counters)

    @property
    def identity(self) -> Identity:
        """Who answers."""
        return self.backend.identity


@dataclass(frozen=True)
class Failure:
    """A version that is not served, and why."""

    name: str
    version: str
    reason: str


class Registry:
    """Opens every candidate, finds the one a request asks for, closes them all."""

    def __init__(self, settings: Settings, on_batch: Callable[[Identity, Batch], None] = lambda _identity, _batch: None) -> None:
        """Nothing is loaded before `open`."""
        self._settings = settings
        self._on_batch = on_batch
        self._running: dict[str, list[Running]] = {}
        self.failures: list[Failure] = []
        self.default = settings.default_backend

    @property
    def running(self) -> Sequence[Running]:
        """All backends, by name, newest version first."""
        return [running for name in sorted(self._running) for running in self._running[name]]

    @property
    def ready(self) -> bool:
        """Whether something is there to answer."""
        return bool(self._running)

    async def open(self, found: Mapping[str, Sequence[Candidate]]) -> None:
        """Load the newest `keep_versions` sound versions of every name; a broken one is reported and the next older tried.

        Raises `ConfigurationError` if the device or the default backend can't be had.
        """
        for name in sorted(found):
            for candidate in found[name]:
                if len(self._running.get(name, ())) >= self._settings.keep_versions:
                    break
                await self._load(name, candidate)
        self._choose_default(found)

    def get(self, name: str | None = None, version: str | None = None) -> Running:
        """The backend that a request asks for. Raises `UnknownBackend`, `UnknownVersion` or `NotReady`."""
        name = name or self.default
        versions = self._running.get(name)
        if not self._running and not self.failures:
            raise NotReady(f"No backend is loaded: {self._settings.models_dir} holds no model.")
        if not versions:
            reasons = "; ".join(
                f"version {failure.version}: {failure.reason}" for failure in self.failures if failure.name == name
            )
            if reasons:
                raise NotReady(f"Backend {name!r} could not be loaded ({reasons}).")
            raise UnknownBackend(f"There is no backend {name!r}. There are: {', '.join(sorted(self._running)) or 'none'}.")
        if version is None:
            return versions[0]
        for running in versions:
            if running.identity.version == version:
                return running
        loaded = ", ".join(running.identity.version for running in versions)
        raise UnknownVersion(f"Version {version!r} of {name!r} is not loaded. Loaded: {loaded}.")

    async def close(self) -> None:
        """Answer everyone who was accepted, then close every backend. Requests have had their grace time before."""
        await asyncio.gather(*(self._close(running) for running in self.running))
        self._running.clear()

    async def _load(self, name: str, candidate: Candidate) -> None:
        try:
            if candidate.load is None:
                raise ModelError(candidate.reason)
            backend = await asyncio.to_thread(candidate.load)
        except ConfigurationError:
            raise
        except Exception as exc:  # whatever is wrong with one version, the others serve
            reason = str(exc) if isinstance(exc, ModelError) else f"{type(exc).__name__}: {exc}"
            self.failures.append(Failure(name, candidate.version, reason))
            described = {"backend": name, "version": candidate.version, "reason": reason}
            log.warning("version refused", extra=described, exc_info=not isinstance(exc, ModelError))
            return
        running = self._start(backend)
        self._running.setdefault(name, []).append(running)
        identity = running.identity
        described = {"backend": name, "version": identity.version, "precision": identity.precision, "provider": identity.provider}
        log.info("backend ready", extra=described | dict(backend.describe()))

    def _start(self, backend: Backend[Any]) -> Running:
        batcher: Batcher[Any, Scores] = Batcher(
            backend.infer,
            max_batch_size=backend.max_batch_size,
            max_in_flight=backend.max_in_flight,
            max_wait=self._settings.max_wait_ms / 1000,
            on_batch=lambda batch: self._on_batch(backend.identity, batch),
        )
        return Running(backend, batcher, Admission(self._settings.max_queue, lambda: batcher.seconds_per_item))

    def _choose_default(self, found: Mapping[str, Sequence[Candidate]]) -> None:
        if "default_backend" in self._settings.model_fields_set:
            if self.default in found:
                return
            known = ", ".join(sorted(found)) or "none"
            raise ConfigurationError(
                f"PARALLAX_DEFAULT_BACKEND={self.default}, but there is no such backend. There are: {known}."
            )
        if self._running and self.default not in self._running:
            self.default = min(self._running)

    @staticmethod
    async def _close(running: Running) -> None:
        try:
            async with asyncio.timeout(LAST_GRACE_S):
                await running.batcher.close()
        except TimeoutError:
            running.batcher.abandon()
        await running.backend.close()

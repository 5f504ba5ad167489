"""What is served: names -> running backends. A new version is loaded beside the old one and takes its place when it is sound."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.errors import ModelError
from service.backends.base import Backend, Candidate
from service.domain import Identity
from service.errors import ConfigurationError, NotReady, UnknownBackend, UnknownVersion
from service.niceness import NOT_URGENT, step_back
from service.running import OnBatch, Running
from service.settings import Settings

log = logging.getLogger("parallax.registry")


@dataclass(frozen=True)
class Failure:
    """A version that is not served, and why."""

    name: str
    version: str
    reason: str


class Registry:
    """Opens every candidate, finds the one a request asks for, changes versions, closes them all."""

    def __init__(self, settings: Settings, on_batch: OnBatch = lambda _identity, _batch: None) -> None:
        """Nothing is loaded before `open`."""
        self._settings = settings
        self._on_batch = on_batch
        self._running: dict[str, list[Running]] = {}
        self._failures: dict[str, list[Failure]] = {}
        self._retiring: dict[asyncio.Task[None], Running] = {}
        self._one_at_a_time = asyncio.Lock()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loader", initializer=step_back, initargs=(NOT_URGENT,))
        self._default_given = "default_backend" in settings.model_fields_set

    @property
    def running(self) -> Sequence[Running]:
        """All backends, by name, newest version first."""
        return [running for name in sorted(self._running) for running in self._running[name]]

    @property
    def failures(self) -> Sequence[Failure]:
        """Versions of the store that are newer than what is served, or alone, and can't be."""
        return [failure for name in sorted(self._failures) for failure in self._failures[name]]

    @property
    def default(self) -> str:
        """Who answers a request that names nobody: as set, else `cnn`, else the first by name, one that is here before others."""
        asked = self._settings.default_backend
        if self._default_given or asked in self._running or not self._running:
            return asked
        return min(self._running, key=lambda name: (self._running[name][0].backend.remote, name))

    @property
    def ready(self) -> bool:
        """Whether something is there to answer: a model of the store, or, where the store holds none, a remote backend."""
        here = any(not running.backend.remote for running in self.running)
        return here or (bool(self._running) and not self.failures)

    async def open(self, found: Mapping[str, Sequence[Candidate]]) -> None:
        """Load what `reload` would, for every name.

        Raises `ConfigurationError` if the device or the default backend can't be had.
        """
        for name in sorted(found):
            await self.reload(name, found[name])
        if self._default_given and self.default not in found:
            known = ", ".join(sorted(found)) or "none"
            raise ConfigurationError(
                f"PARALLAX_DEFAULT_BACKEND={self.default}, but there is no such backend. There are: {known}."
            )

    async def reload(self, name: str, candidates: Sequence[Candidate]) -> None:
        """Serve the newest `keep_versions` sound versions of a name; a broken one is reported and the next older tried.

        What is served already and has not changed stays as it is. If no candidate is sound, all stays as it is: nothing is
        taken away for lack of something better. Requests notice nothing. Raises `ConfigurationError` if the device fails.
        """
        async with self._one_at_a_time:
            if not candidates and name not in self._running:
                return
            before = self._running.get(name, [])
            after: list[Running] = []
            failures: list[Failure] = []
            for candidate in candidates:
                if len(after) >= self._settings.keep_versions:
                    break
                served = next((old for old in before if _same(old, candidate)), None)
                try:
                    after.append(served or await self._load(name, candidate, before))
                except ConfigurationError:
                    raise
                except Exception as exc:  # noqa: BLE001  # whatever is wrong with one version, the others serve
                    failures.append(self._refused(name, candidate, exc))
            self._failures[name] = failures
            if after:
                self._running[name] = after
                self._retire([old for old in before if old not in after])

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

    @asynccontextmanager
    async def pin(self, wanted: Identity, find: Callable[[], Awaitable[Sequence[Candidate]]]) -> AsyncIterator[Running]:
        """Have a backend in the very version and precision of an identity, for the length of a block.

        It may be served, on its way out, or, if it is neither, one of what `find` finds, which is loaded for this block alone.
        Raises `UnknownVersion`, or what loading it raises.
        """
        known = [*self._running.get(wanted.name, ()), *self._retiring.values()]
        running = next((one for one in known if _alike(one.identity, wanted)), None)
        if running is not None:
            with running.pins:
                yield running
            return
        for candidate in await find():
            if candidate.version == wanted.version and candidate.load is not None:
                load = partial(candidate.load_as, wanted.precision) if candidate.load_as else partial(candidate.load, None)
                break
        else:
            raise UnknownVersion(f"Version {wanted.version!r} of {wanted.name!r} is neither loaded nor in the store any more.")
        backend: Backend[Any] = await asyncio.get_running_loop().run_in_executor(self._loader, load)
        own = await Running.start(backend, candidate, self._settings, self._on_batch)
        try:
            yield own
        finally:
            await own.close()

    async def close(self) -> None:
        """Answer everyone who was accepted, then close every backend. Requests have had their grace time before."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*(running.close() for running in self.running), *self._retiring, return_exceptions=True)
        self._running.clear()
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _load(self, name: str, candidate: Candidate, before: Sequence[Running]) -> Running:
        if candidate.load is None:
            raise ModelError(candidate.reason)
        inherited = before[0].proven_plan if before else None
        backend: Backend[Any] = await asyncio.get_running_loop().run_in_executor(self._loader, candidate.load, inherited)
        running = await Running.start(backend, candidate, self._settings, self._on_batch)
        log.info("backend ready", extra=_facts(running.identity) | dict(backend.describe()))
        return running

    def _refused(self, name: str, candidate: Candidate, exc: Exception) -> Failure:
        reason = str(exc) if isinstance(exc, ModelError) else f"{type(exc).__name__}: {exc}"
        described = {"backend": name, "version": candidate.version, "reason": reason}
        log.warning("version refused", extra=described, exc_info=not isinstance(exc, ModelError))
        return Failure(name, candidate.version, reason)

    def _retire(self, leaving: Sequence[Running]) -> None:
        """Nobody is sent to them any more; whoever is inside holds a place, and is waited for."""
        patience = self._settings.deadline_ms / 1000 + self._settings.grace_s
        for running in leaving:
            log.info("backend retired", extra=_facts(running.identity))
            task = asyncio.get_running_loop().create_task(running.retire(patience))
            self._retiring[task] = running
            task.add_done_callback(self._retiring.pop)


def _same(running: Running, candidate: Candidate) -> bool:
    return running.identity.version == candidate.version and running.stamp == candidate.stamp and candidate.load is not None


def _alike(one: Identity, other: Identity) -> bool:
    return (one.name, one.version, one.precision) == (other.name, other.version, other.precision)


def _facts(identity: Identity) -> dict[str, Any]:
    return {"backend": identity.name, "version": identity.version, "precision": identity.precision, "provider": identity.provider}

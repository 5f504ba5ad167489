"""Sees new versions in the store, and has them served: by looking, since network file systems send no notice."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from models.repository import Repository, Stamps
from service.backends.base import Candidate
from service.backends.factory import Find
from service.registry import Registry

log = logging.getLogger("parallax.watcher")


class Watcher:
    """Compares the store with what it was, every few moments."""

    def __init__(self, registry: Registry, repository: Repository, find: Find, interval: float) -> None:
        """`interval` in seconds."""
        self._registry = registry
        self._repository = repository
        self._find = find
        self._interval = interval
        self._seen: Stamps = {}

    async def open(self) -> None:
        """Load what the store holds now. Raises `ConfigurationError`."""
        self._seen = await asyncio.to_thread(self._repository.stamps)
        await self._registry.open(await asyncio.to_thread(self._find))

    async def run(self) -> None:
        """Watch until cancelled. A store that can't be read for a while changes nothing."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._look()
            except Exception:
                log.exception("the store could not be looked at")

    async def reload(self, name: str) -> None:
        """Load anew what the store holds of a name, whether it seems changed or not."""
        found = await asyncio.to_thread(self._find)
        await self._registry.reload(name, found.get(name, []))

    async def candidates(self, name: str) -> Sequence[Candidate]:
        """What the store holds of a name, newest first."""
        return (await asyncio.to_thread(self._find)).get(name, [])

    async def _look(self) -> None:
        stamps = await asyncio.to_thread(self._repository.stamps)
        changed = {name for name, _ in dict(stamps.items() ^ self._seen.items())}
        if not changed:
            return
        self._seen = stamps
        found: Mapping[str, Sequence[Candidate]] = await asyncio.to_thread(self._find)
        for name in sorted(changed):
            await self._registry.reload(name, found.get(name, []))

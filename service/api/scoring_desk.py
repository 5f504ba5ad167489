"""The desk of scoring jobs, opened when it is first needed: it brings a database, which a service without jobs need not load."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from models.imaging import Limits
from models.repository import Repository
from service.api.problems import problem_type
from service.pipeline import Pipeline
from service.registry import Registry
from service.settings import Settings
from service.watcher import Watcher

if TYPE_CHECKING:
    from service.scoring.desk import Desk

LOOK_S = 1.0
"""How often a process that works on jobs looks whether another has made a database."""


class Scorings:
    """Belongs to one event loop."""

    def __init__(self, settings: Settings, pipeline: Pipeline, registry: Registry, watcher: Watcher, cpus: int) -> None:
        """`cpus`: processors that this process plans for."""
        self._settings = settings
        self._pipeline = pipeline
        self._registry = registry
        self._watcher = watcher
        self._cpus = cpus
        self._works = True
        self._desk: Desk | None = None
        self._one_at_a_time = asyncio.Lock()

    async def desk(self) -> "Desk":
        """The desk, open."""
        async with self._one_at_a_time:
            if self._desk is None:
                self._desk = await asyncio.to_thread(self._make)
                self._desk.open()
        return self._desk

    def only_takes(self) -> None:
        """Let another worker of this service do the work."""
        self._works = False

    async def run(self) -> None:
        """Go on with jobs that were begun, as soon as there is a database that may hold some."""
        file: Path = self._settings.data_dir / "parallax.db"
        elsewhere = bool(self._settings.database_url.get_secret_value())
        while self._works and not elsewhere and not await asyncio.to_thread(file.exists):  # noqa: ASYNC110  # others make it
            await asyncio.sleep(LOOK_S)
        if self._works:
            await self.desk()

    async def close(self) -> None:
        """Leave what is not done to whoever goes on."""
        if self._desk is not None:
            await self._desk.close()

    def _make(self) -> "Desk":
        from service.scoring.apart import drawn, measured
        from service.scoring.desk import Desk
        from service.scoring.machinery import Machinery
        from service.scoring.summary import Summary

        machinery = Machinery(
            pipeline=self._pipeline,
            registry=self._registry,
            watcher=self._watcher,
            code_of=lambda exc: problem_type(exc).code,
            summary=Summary(
                Repository(self._settings.models_dir),
                self._registry,
                self._cpus,
                self._settings.usd_per_hour,
                judge=measured,
            ),
            limits=Limits(self._settings.max_body_bytes, self._settings.max_pixels),
            draw=drawn,
        )
        return Desk(self._settings, machinery, works=self._works)

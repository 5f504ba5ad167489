"""A desk with stand-ins for backends, over a database of one's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from models.errors import ParallaxError
from models.imaging import Limits
from models.repository import Repository
from models.scoring.report import draw
from service.activity import Activity
from service.api.problems import problem_type
from service.backends.base import Candidate
from service.decoding import Decoder
from service.pipeline import Pipeline
from service.registry import Registry
from service.scoring.desk import Desk
from service.scoring.jobs import ENDED, Job
from service.scoring.machinery import Machinery
from service.scoring.options import Options
from service.scoring.rows import Row
from service.scoring.summary import Summary
from service.settings import Settings
from service.telemetry import Metrics
from service.watcher import Watcher
from tests.unit.service.stand_ins import candidate

TWO: Mapping[str, Sequence[Candidate]] = {"a": [candidate("a", "1")], "b": [candidate("b", "1")]}


@dataclass
class Office:
    """A desk, and what it stands on."""

    desk: Desk
    registry: Registry
    number: int = 0

    async def hand_in(self, caller: str = "alice", key: str | None = None, **options: object) -> Job:
        """Ask for a job."""
        self.number += 1
        return await self.desk.create(f"{id(self)}-{self.number:03}", caller, key, Options.model_validate(options))

    async def ended(self, job: Job) -> Job:
        """Wait for its end."""
        found = job

        async def look() -> bool:
            nonlocal found
            found = await self.desk.get(job.id)
            return found.state in ENDED

        await until_async(look, f"{job.id} ended")
        return found

    async def rows(self, job: Job) -> list[Row]:
        return await self.desk.rows(job)


async def until_async(condition: Callable[[], Awaitable[object]], what: str) -> None:
    """`until`, for conditions that have to be awaited."""
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def office(
    settings: Settings, found: Mapping[str, Sequence[Candidate]] = TWO, *, works: bool = True
) -> AsyncIterator[Office]:
    """Everything from the registry to the desk, until the end of the block."""
    registry = Registry(settings)
    await registry.open(found)
    decoder = Decoder(1, Limits())
    pipeline = Pipeline(registry, decoder, Metrics(), Activity())
    repository = Repository(settings.models_dir)
    watcher = Watcher(registry, repository, lambda: found, 1)
    summary = Summary(repository, registry, 2)

    def code_of(exc: Exception) -> str:
        assert isinstance(exc, ParallaxError)
        return problem_type(exc).code

    desk = Desk(
        settings,
        Machinery(pipeline, registry, watcher, code_of, summary, Limits(settings.max_body_bytes, settings.max_pixels), draw),
        works=works,
    )
    desk.open()
    try:
        yield Office(desk, registry)
    finally:
        await desk.close()
        await registry.close()
        decoder.close()

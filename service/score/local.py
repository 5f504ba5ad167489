"""A run in this very process: what a server does for `POST /v1/scorings`, without a port and on a set that is anywhere."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import SecretStr

from models.imaging import Limits
from models.machine import usable_cpus
from models.repository import Repository
from models.scoring.report import draw
from models.scoring.results import Scoring
from service.activity import Activity
from service.api import scoring_rows
from service.api.ids import RequestIds
from service.api.problems import problem_type
from service.api.scoring_schemas import described
from service.api.scoring_streams import progress_of
from service.backends.factory import finder
from service.decoding import Decoder
from service.errors import UnknownBackend
from service.interpreter import configure
from service.memory import share_one_arena
from service.pipeline import Pipeline
from service.plans import PlanBook
from service.registry import Registry
from service.score import kept
from service.score.asked import Asked
from service.score.board import Board, outlined
from service.score.sets import local_set
from service.scoring.addresses import is_address
from service.scoring.desk import Desk
from service.scoring.jobs import ENDED, Job
from service.scoring.machinery import Machinery
from service.scoring.summary import Summary
from service.settings import Settings, load_settings
from service.telemetry import Metrics
from service.watcher import Watcher

LOOK_S = 0.2
"""How often the run is looked at."""


@asynccontextmanager
async def local(asked: Asked, board: Board, *, on_ray: bool = False) -> AsyncIterator["LocalOutcome"]:
    """Run it to its end, from where an earlier process with the same arguments was killed. What it left goes with the block.

    `on_ray`: a cluster scores the images, and this process keeps the rows. Raises `ParallaxError`.
    """
    settings = load_settings(models_dir=asked.models_dir, keep_versions=1)
    if on_ray and settings.device == "auto":  # what a node has is not what another has
        settings = settings.model_copy(update={"device": "cpu"})
    logging.basicConfig(level=logging.WARNING, format="parallax: %(message)s")
    share_one_arena()
    given = None if is_address(asked.dataset) else local_set(asked.dataset)
    named = {"dataset": given.name, "title": given.title} if given else {"dataset": asked.dataset}
    options = asked.options.model_copy(update=named)
    home = settings.data_dir / "score"
    where = (given.path, given.state) if given else asked.dataset
    folder = kept.folder_of(home, where, settings.models_dir.resolve(), options.model_dump_json())
    root = given.path.parent if given else settings.datasets_dir
    own = {"data_dir": folder, "database_url": SecretStr(""), "datasets_dir": root}
    with kept.held(folder, fresh=asked.fresh):
        kept.sweep(home, settings.datasets_keep_h * 3600)  # whoever comes back in time has taken what is theirs
        begun = (folder / "parallax.db").exists()
        job: Job | None = None
        try:
            async with AsyncExitStack() as stack:
                machinery = await stack.enter_async_context(_machinery(settings, options.backends))
                configure()
                if on_ray:
                    machinery = await _spread(stack, machinery, settings.model_copy(update={"datasets_dir": root}), asked, board)
                desk = Desk(settings.model_copy(update=own), machinery)
                try:
                    job = await _begun(desk, board) or await desk.create(RequestIds()(), "", None, options)
                    board.say(outlined(described(job)))
                    desk.open()
                    job = await _ended(desk, job, board)
                    yield LocalOutcome(desk, job, await desk.results(job))
                finally:
                    await desk.close()
        except asyncio.CancelledError:
            if job is not None:
                board.say("Stopped. The same command goes on from here; with --fresh it begins anew.")
            raise
        finally:
            if job is None and not begun:
                kept.forget(folder)
        if broken_off(job):
            board.say("What was answered is kept: the same command goes on with what is missing.")
        else:
            kept.forget(folder)


class LocalOutcome:
    """A run of this process that has ended."""

    def __init__(self, desk: Desk, job: Job, result: Scoring | None) -> None:
        self._desk = desk
        self._job = job
        self.result = result

    @property
    def info(self) -> dict[str, Any]:
        """As a server would say it."""
        return described(self._job, self.result)

    async def report(self) -> AsyncIterator[bytes]:
        """One HTML file."""
        yield (await self._desk.report(self._job)).encode()

    def predictions(self, form: scoring_rows.FormName) -> AsyncIterator[bytes]:
        """Every row."""
        return scoring_rows.FORMS[form].write(self._desk.pages(self._job))


@asynccontextmanager
async def _machinery(settings: Settings, names: Sequence[str] | None) -> AsyncIterator[Machinery]:
    """What a server opens, with these backends alone; none named: with all. Raises `UnknownBackend` or `ConfigurationError`."""
    cpus = _cpus(settings)
    limits = Limits(settings.max_body_bytes, settings.max_pixels)
    async with AsyncExitStack() as stack:
        decoder = Decoder(cpus, limits)
        stack.callback(decoder.close)
        registry = Registry(settings)
        stack.push_async_callback(registry.close)
        repository = Repository(settings.models_dir)
        find = finder(repository, settings, cpus, PlanBook(settings.data_dir / "plans", cpus))
        there = await asyncio.to_thread(find)
        if lacking := sorted(set(names or ()) - set(there)):
            raise UnknownBackend(f"There is no backend {', '.join(map(repr, lacking))}. There are: {', '.join(there) or 'none'}.")
        for name in there if names is None else dict.fromkeys(names):
            await registry.reload(name, there[name])
        yield Machinery(
            pipeline=Pipeline(registry, decoder, Metrics(), Activity()),
            registry=registry,
            watcher=Watcher(registry, repository, find, settings.poll_s),
            code_of=lambda exc: problem_type(exc).code,
            summary=Summary(repository, registry, cpus, settings.usd_per_hour),
            limits=limits,
            draw=draw,
        )


async def _spread(stack: AsyncExitStack, machinery: Machinery, settings: Settings, asked: Asked, board: Board) -> Machinery:
    """The same, with a cluster that scores the images."""
    from service.cluster.connection import joined
    from service.cluster.stint import ClusterStint

    board.say("Ray begins.")
    cluster = await stack.enter_async_context(joined(asked.address, _cpus(settings)))
    board.say(f"{cluster.machine}.")
    return replace(
        machinery,
        summary=Summary(
            Repository(settings.models_dir),
            machinery.registry,
            cluster.cpus,
            settings.usd_per_hour,
            cluster.machine,
            cluster.nodes,
        ),
        elsewhere=partial(ClusterStint, cluster, settings, machinery.code_of),
    )


def _cpus(settings: Settings) -> int:
    return math.ceil(settings.cpus) if settings.cpus else usable_cpus()


def broken_off(job: Job) -> bool:
    """Whether it ended before every image had its row, as when a cluster gives up."""
    return job.state == "failed" and job.done < job.total


async def _begun(desk: Desk, board: Board) -> Job | None:
    """The run that an earlier process left."""
    for job in await desk.newest(1, None):
        if broken_off(job):
            await desk.again(job)
        when = datetime.fromtimestamp(job.created).astimezone()
        board.say(
            f"Going on with the run of {when:%d %B, %H:%M}, which has {job.done:,} of {job.total:,} answers. "
            "With --fresh it would begin anew."
        )
        return job
    return None


async def _ended(desk: Desk, job: Job, board: Board) -> Job:
    while True:
        job = await desk.get(job.id)
        board.show(progress_of(job))
        if job.state in ENDED:
            return job
        await asyncio.sleep(LOOK_S)

"""Where scoring jobs are handed in and looked up, with what came of them. Who works on them is `worker`."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from models.errors import UnreadableImage
from models.scoring.results import Scoring
from service.database import Database
from service.errors import UnfinishedScoring
from service.scoring import pictures, planning, results, store
from service.scoring.jobs import ENDED, Event, Job
from service.scoring.library import Found, Library, Upload
from service.scoring.machinery import Machinery
from service.scoring.options import Options
from service.scoring.rows import ALL, Chosen, Row
from service.scoring.shelf import Shelf
from service.scoring.worker import Worker
from service.settings import Settings

THREADS = 4
"""For lists of sets, results, reports and pictures: what blocks, but for the images of runs."""
KEPT_RESULTS = 8
"""Results of ended jobs that are kept at hand."""

Out = TypeVar("Out")


class Desk:
    """Opened by `open`, ended by `close`. Belongs to one event loop."""

    def __init__(self, settings: Settings, machinery: Machinery, *, works: bool = True) -> None:
        """`works`: whether this process works on jobs, or only takes them in for others."""
        self.library = Library(settings)
        self._machinery = machinery
        self._database = Database(settings)
        self._shelf = Shelf(self.library)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scoring")
        self._worker = Worker(settings, machinery, self._database, self.library)
        self._works = works
        self._judging = asyncio.Lock()
        """Results are computed once, whoever asks at the same time."""
        self._drawing = asyncio.Lock()
        """One report at a time: each takes a processor, and one of the threads."""
        self._results: OrderedDict[str, Scoring] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to work on jobs."""
        if self._works:
            self._task = asyncio.create_task(self._worker.run(), context=Context())  # it belongs to no request's trace

    async def close(self) -> None:
        """Leave what is not done to whoever goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._database.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._shelf.close()

    async def create(self, new_id: str, caller: str, key: str | None, options: Options) -> Job:
        """Queue a job. Raises what is wrong with its backends or its set, and `KeyReused`."""
        request, idempotency = planning.marks(caller, key, options)
        if idempotency and (known := await self._look(partial(store.known, request=request, idempotency=idempotency))):
            return known  # whatever has become of its set and its backends
        backends = planning.pinned(self._machinery.registry, options.backends)
        new = await self._aside(planning.plan, new_id, caller, key, options, backends, self.library)
        job = await self._ask(partial(store.create, new=new))
        self._worker.look()
        return job

    async def get(self, job: str) -> Job:
        """Raises `UnknownScoring`."""
        return await self._look(partial(store.get, job=job))

    async def newest(self, limit: int, before: str | None) -> list[Job]:
        """Newest first."""
        return await self._look(partial(store.newest, limit=limit, before=before))

    async def again(self, job: Job) -> None:
        """Have one that failed go on with what is missing."""
        await self._ask(partial(store.again, job=job.id))
        self._worker.look()

    async def cancel(self, job: str) -> Job:
        """Raises `UnknownScoring`."""
        return await self._ask(partial(store.cancel, job=job))

    async def events(self, job: str, after: int) -> tuple[Job, list[Event]]:
        """A job, and what happened to it since an event. Raises `UnknownScoring`."""
        return await self._look(lambda connection: (store.get(connection, job), store.events(connection, job, after)))

    async def pages(self, job: Job, chosen: Chosen = ALL, limit: int | None = None) -> AsyncIterator[list[Row]]:
        """Rows, at most `limit`, by backend and image, in transactions of a page each: others write meanwhile.

        Raises `UnknownScoring` at the end if the job was deleted meanwhile.
        """
        after, left = None, limit
        while left is None or left > 0:
            most = results.PAGE if left is None else min(left, results.PAGE)
            rows = await self._look(partial(results.page, job=job, after=after, limit=most, chosen=chosen))
            if not rows:
                break
            yield rows
            after = (rows[-1].backend, rows[-1].image)
            left = None if left is None else left - len(rows)
        await self.get(job.id)  # or some may have been deleted meanwhile, and nobody should take this for all

    async def rows(self, job: Job) -> list[Row]:
        """All rows in memory."""
        return [row async for rows in self.pages(job) for row in rows]

    async def results(self, job: Job) -> Scoring | None:
        """What a job found out; None before it has ended, or if it has no row. Raises `UnknownScoring` if it is deleted."""
        if job.state not in ENDED or not job.done:
            return None
        async with self._judging:
            if job.id not in self._results:
                rows = await self.rows(job)
                self._results[job.id] = await self._aside(self._machinery.summary, job, rows)
                while len(self._results) > KEPT_RESULTS:
                    self._results.popitem(last=False)
            return self._results[job.id]

    async def report(self, job: Job) -> str:
        """Its report, as one HTML file. Raises `UnfinishedScoring` where there is nothing to report yet."""
        found = await self.results(job)
        if found is None:
            raise UnfinishedScoring("A report is made of a job that has ended and has rows: look at its state and events.")
        async with self._drawing:
            return await self._aside(pictures.report, self._shelf, self._machinery.limits, job, found, self._machinery.draw)

    async def picture(self, job: Job, image: str) -> bytes:
        """A small JPEG of an image that has a row. Raises `ImageError`, `UnknownDataset` or `DatasetError`."""
        if not await self._look(partial(results.has, job=job, image=image)):
            raise UnreadableImage(f"The job has no row of {image[:200]!a}.")
        return await self._aside(pictures.thumbnail_of, self._shelf, self._machinery.limits, job, image)

    async def datasets(self) -> list[Found]:
        """What can be scored by name."""
        return await self._aside(self.library.listed)

    async def receive(self) -> Upload:
        """Begin to take a zip. Raises `DatasetsFull`."""
        in_use = await self._look(store.datasets_in_use)
        return await self._aside(self.library.receive, in_use)

    async def keep(self, upload: Upload) -> str:
        """Make a set of an upload that is whole. Returns its name. Raises `DatasetsFull`."""
        return await self._aside(upload.keep)

    async def drop(self, upload: Upload) -> None:
        """Delete what is left of an upload; of one that was kept nothing is."""
        await self._aside(upload.drop)

    async def forget(self, name: str) -> None:
        """Delete an uploaded set that turned out to be of no use."""
        await self._aside(self.library.forget, name)

    async def _ask(self, work: Callable[[Connection], Out]) -> Out:
        return await self._database.run(work)

    async def _aside(self, work: Callable[..., Out], *given: object) -> Out:
        """On threads of its own: whatever is asked of scoring, it takes none that others wait for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *given)

    async def _look(self, work: Callable[[Connection], Out]) -> Out:
        return await self._database.read(work)

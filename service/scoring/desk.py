"""Where scoring jobs are handed in, looked up and worked on: one at a time in each process, so that none measures another."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from models.errors import ParallaxError, UnreadableImage
from models.scoring.results import Scoring
from service.database import Database
from service.errors import DatabaseFailed, UnfinishedScoring
from service.scoring import pictures, planning, results, store
from service.scoring.jobs import ENDED, Event, Job, State, Task
from service.scoring.ledger import Cancelled, Ledger
from service.scoring.library import Found, Library, Upload
from service.scoring.machinery import Machinery
from service.scoring.options import Options
from service.scoring.owners import Owner
from service.scoring.rows import Row
from service.scoring.runner import Run
from service.settings import Settings

log = logging.getLogger("parallax.scoring")

LOOK_S = 1.0
"""How often jobs are looked for that another process took, or left."""
TROUBLE_S = 5.0
"""How long the database is left alone when it fails."""

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
        self._owner = Owner(settings.data_dir)
        self._lease_s = settings.scoring_lease_s
        self._works = works
        self._closing = False
        self._new = asyncio.Event()
        self._judging = asyncio.Lock()
        """Results are computed once, whoever asks at the same time."""
        self._results: OrderedDict[str, Scoring] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to work on jobs."""
        if self._works:
            self._owner.open()
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Leave what is not done to whoever goes on."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._database.close()
        self._owner.close()

    async def create(self, new_id: str, caller: str, key: str | None, options: Options) -> Job:
        """Queue a job. Raises what is wrong with its backends or its set, and `KeyReused`."""
        request, idempotency = planning.marks(caller, key, options)
        if idempotency and (known := await self._ask(partial(store.known, request=request, idempotency=idempotency))):
            return known  # whatever has become of its set and its backends
        backends = planning.pinned(self._machinery.registry, options.backends)
        new = await asyncio.to_thread(planning.plan, new_id, caller, key, options, backends, self.library)
        job = await self._ask(partial(store.create, new=new))
        self._new.set()
        return job

    async def get(self, job: str) -> Job:
        """Raises `UnknownScoring`."""
        return await self._ask(partial(store.get, job=job))

    async def newest(self, limit: int, before: str | None) -> list[Job]:
        """Newest first."""
        return await self._ask(partial(store.newest, limit=limit, before=before))

    async def cancel(self, job: str) -> Job:
        """Raises `UnknownScoring`."""
        return await self._ask(partial(store.cancel, job=job))

    async def events(self, job: str, after: int) -> tuple[Job, list[Event]]:
        """A job, and what happened to it since an event. Raises `UnknownScoring`."""
        return await self._ask(lambda connection: (store.get(connection, job), store.events(connection, job, after)))

    async def pages(self, job: Job) -> AsyncIterator[list[Row]]:
        """All rows, by backend and image, in transactions of a page each: others write meanwhile."""
        after = None
        while rows := await self._ask(partial(results.page, job=job, after=after)):
            yield rows
            after = (rows[-1].backend, rows[-1].image)

    async def rows(self, job: Job) -> list[Row]:
        """All rows in memory."""
        return [row async for rows in self.pages(job) for row in rows]

    async def results(self, job: Job) -> Scoring | None:
        """What a job found out; None before it has ended, or if it has no row."""
        if job.state not in ENDED or not job.done:
            return None
        async with self._judging:
            if job.id not in self._results:
                self._results[job.id] = await asyncio.to_thread(self._machinery.summary, job, await self.rows(job))
                while len(self._results) > KEPT_RESULTS:
                    self._results.popitem(last=False)
            return self._results[job.id]

    async def report(self, job: Job) -> str:
        """Its report, as one HTML file. Raises `UnfinishedScoring` where there is nothing to report yet."""
        found = await self.results(job)
        if found is None:
            raise UnfinishedScoring("A report is made of a job that has ended and has rows: look at its state and events.")
        return await asyncio.to_thread(pictures.report, self.library, self._machinery.limits, job, found)

    async def picture(self, job: Job, image: str) -> bytes:
        """A small JPEG of an image that has a row. Raises `ImageError`, `UnknownDataset` or `DatasetError`."""
        if not await self._ask(partial(results.has, job=job, image=image)):
            raise UnreadableImage(f"The job has no row of {image[:200]!a}.")
        return await asyncio.to_thread(pictures.thumbnail_of, self.library, self._machinery.limits, job, image)

    async def datasets(self) -> list[Found]:
        """What can be scored by name."""
        return await asyncio.to_thread(self.library.listed)

    async def receive(self) -> Upload:
        """Begin to take a zip. Raises `DatasetsFull`."""
        in_use = await self._ask(store.datasets_in_use)
        return await asyncio.to_thread(self.library.receive, in_use)

    async def keep(self, upload: Upload) -> str:
        """Make a set of an upload that is whole. Returns its name. Raises `DatasetsFull`."""
        return await asyncio.to_thread(upload.keep)

    async def drop(self, upload: Upload) -> None:
        """Delete what is left of an upload; of one that was kept nothing is."""
        await asyncio.to_thread(upload.drop)

    async def forget(self, name: str) -> None:
        """Delete an uploaded set that turned out to be of no use."""
        await asyncio.to_thread(self.library.forget, name)

    async def _ask(self, work: Callable[[Connection], Out]) -> Out:
        return await self._database.run(work)

    async def _run(self) -> None:
        dead = None if self._database.shared else self._owner.dead
        while not self._closing:
            self._new.clear()
            try:
                job = await self._ask(partial(store.take, owner=self._owner.name, lease_s=self._lease_s, dead=dead))
                if job is not None:
                    await self._work(job)
                    continue
            except Exception:
                log.exception("scoring jobs could not be looked at")
                await asyncio.sleep(TROUBLE_S)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._new.wait()
            except TimeoutError:
                pass

    async def _work(self, job: Job) -> None:
        """Bring a job to its end, or leave it to another process."""
        log.info("scoring", extra={"job": job.id, "done": job.done, "total": job.total})
        try:
            state, note = await self._attempt(job)
        except Cancelled:
            state, note = "cancelled", "It was cancelled; the rows that were made by then are kept."
        except store.LostLease:
            log.warning("a scoring job went over to another process", extra={"job": job.id})
            return
        except asyncio.CancelledError:
            with suppress(DatabaseFailed):
                await self._ask(partial(store.release, job=job.id, owner=self._owner.name))
            raise
        except DatabaseFailed:
            raise  # the lease will end, and whoever finds a database goes on
        except ParallaxError as exc:
            state, note = "failed", str(exc)
        except Exception:
            log.exception("a scoring job failed", extra={"job": job.id})
            state, note = "failed", "Something went wrong inside; the log has the cause."
        with suppress(store.LostLease):
            await self._ask(partial(store.finish, job=job.id, owner=self._owner.name, state=state, said=note))
        log.info("scored", extra={"job": job.id, "state": state, "note": note})

    async def _attempt(self, job: Job) -> tuple[State, str | None]:
        """Make the rows that are missing. Returns how the job ended, and what should be known of that."""
        source = await asyncio.to_thread(self.library.reopen, job.dataset)
        try:
            tasks, done, counted = await self._ask(partial(_begun, job=job.id))
            ledger = Ledger(self._database, recounted(job, counted), self._owner.name, self._lease_s)
            await Run(self._machinery, job, source, tasks, ledger).run(done)
        finally:
            await asyncio.to_thread(source.close)
        failed = {one.pinned.name: ledger.progress(one.pinned.name).failed for one in job.backends}
        total = job.total
        if not any(failed.values()):
            return "succeeded", None
        some = ", ".join(f"{name}: {count:,}" for name, count in failed.items() if count)
        note = f"{sum(failed.values()):,} of {total:,} rows have an error instead of an answer ({some})."
        return ("failed" if sum(failed.values()) == total else "succeeded"), note


def recounted(job: Job, counted: dict[str, tuple[int, int, int]]) -> Job:
    """A job with its progress as its rows have it."""
    backends = []
    for one in job.backends:
        done, failed, correct = counted.get(one.pinned.name, (0, 0, 0))
        backends.append(replace(one, done=done, failed=failed, correct=correct))
    return replace(job, backends=backends)


def _begun(connection: Connection, job: str) -> tuple[list[Task], dict[str, set[str]], dict[str, tuple[int, int, int]]]:
    return store.tasks(connection, job), results.done(connection, job), results.counts(connection, job)

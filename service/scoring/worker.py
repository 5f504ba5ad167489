"""Brings scoring jobs to their end, one at a time in each process: none measures another. Between them it deletes old ones."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from models.errors import ParallaxError
from models.scoring.facts import Terms
from service.database import Database
from service.errors import DatabaseFailed
from service.scoring import results, store
from service.scoring.jobs import Job, State, Task
from service.scoring.ledger import Cancelled, Ledger
from service.scoring.library import Library
from service.scoring.machinery import Machinery
from service.scoring.owners import Owner
from service.scoring.reading import READERS, SHARE, Reader
from service.scoring.retention import Retention
from service.scoring.runner import Run
from service.scoring.summary import Summary
from service.settings import Settings

log = logging.getLogger("parallax.scoring")

LOOK_S = 1.0
"""How often jobs are looked for that another process took, or left."""
TROUBLE_S = 5.0
"""How long the database is left alone when it fails."""


class Worker:
    """Belongs to one event loop."""

    def __init__(self, settings: Settings, machinery: Machinery, database: Database, library: Library) -> None:
        """Nothing is done before `run`."""
        self._machinery = machinery
        self._database = database
        self._library = library
        self._owner = Owner(settings.data_dir)
        self._retention = Retention(database, settings)
        self._lease_s = settings.scoring_lease_s
        self._max_bytes = settings.max_inflight_bytes // SHARE
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="scoring-reads")
        self._new = asyncio.Event()

    def look(self) -> None:
        """There may be a new job."""
        self._new.set()

    async def run(self) -> None:
        """Work on jobs until this is cancelled; what is under way then is left to whoever goes on."""
        self._owner.open()
        try:
            await self._all()
        finally:
            self._owner.close()
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _all(self) -> None:
        dead = None if self._database.shared else self._owner.dead
        while True:
            self._new.clear()
            try:
                job = None
                if await self._database.read(store.waiting):  # to take one is to write
                    job = await self._database.run(partial(store.take, owner=self._owner.name, lease_s=self._lease_s, dead=dead))
                if job is not None:
                    await self._work(job)
                    continue
                if await self._retention.step():
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
                await self._database.run(partial(store.release, job=job.id, owner=self._owner.name))
            raise
        except DatabaseFailed:
            raise  # the lease will end, and whoever finds a database goes on
        except ParallaxError as exc:
            state, note = "failed", str(exc)
        except Exception:
            log.exception("a scoring job failed", extra={"job": job.id})
            state, note = "failed", "Something went wrong inside; the log has the cause."
        with suppress(store.LostLease):
            await self._database.run(partial(store.finish, job=job.id, owner=self._owner.name, state=state, said=note))
        log.info("scored", extra={"job": job.id, "state": state, "note": note})

    async def _attempt(self, job: Job) -> tuple[State, str | None]:
        """Make the rows that are missing. Returns how the job ended, and what should be known of that."""
        aside = partial(asyncio.get_running_loop().run_in_executor, self._threads)
        source = await aside(self._library.reopen, job.dataset)
        try:
            machine, terms = await aside(_noted, self._machinery.summary, job)
            await self._database.run(partial(store.remember, job=job.id, owner=self._owner.name, machine=machine, terms=terms))
            tasks, done, counted = await self._database.read(partial(_begun, job=job.id))
            ledger = Ledger(self._database, recounted(job, counted), self._owner.name, self._lease_s)
            reader = Reader(self._threads, self._machinery.limits.max_bytes, self._max_bytes)
            await Run(self._machinery, job, source, tasks, ledger, reader).run(done)
        finally:
            await aside(source.close)
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


def _noted(summary: Summary, job: Job) -> tuple[str, dict[str, Terms]]:
    return summary.machine(job), {one.pinned.name: summary.terms(one.pinned) for one in job.backends}


def _begun(connection: Connection, job: str) -> tuple[list[Task], dict[str, set[str]], dict[str, tuple[int, int, int]]]:
    return store.tasks(connection, job), results.done(connection, job), results.counts(connection, job)

"""What a run has to tell the database: rows, and how far it is, in one transaction every few images."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from service.database import Database
from service.errors import DatabaseFailed
from service.scoring import results
from service.scoring.jobs import Job, Progress
from service.scoring.rows import Row

log = logging.getLogger("parallax.scoring")

COMMIT_ROWS = 512
COMMIT_S = 0.2
MAX_WAITING = 2048
"""Rows that wait for the database before no more images are sent."""
PATIENCE_S = 60.0
"""For a database that takes nothing: a full disk, a restart."""
RETRY_S = 0.5


class Cancelled(Exception):
    """Somebody asked for the job to end."""


class Ledger:
    """Rows go in by `add`; `run` writes them until it is cancelled, `flush` what is left. Belongs to one event loop."""

    def __init__(self, database: Database, job: Job, owner: str, lease_s: float) -> None:
        self._database = database
        self._job = job.id
        self._owner = owner
        self._lease_s = lease_s
        self._rows: deque[Row] = deque()
        self._progress = {one.pinned.name: one for one in job.backends}
        self._since: dict[str, float] = {}
        """When a backend's images began to be worked on here, for those that are."""
        self._changed: set[str] = set()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._one_at_a_time = asyncio.Lock()

    def progress(self, backend: str) -> Progress:
        """How far a backend is, what waits for the database among it."""
        return self._progress[backend]

    def begin(self, backend: str, ago_s: float = 0.0) -> None:
        """Its clock runs, since some seconds ago if who worked told late."""
        self._since[backend] = time.perf_counter() - ago_s

    def end(self, backend: str) -> None:
        """Its clock stands."""
        self._tick(backend)
        del self._since[backend]

    def learn(self, backend: str, labels: tuple[str, ...]) -> None:
        """A remote backend's labels are known from its first answer."""
        known = self._progress[backend]
        self._progress[backend] = replace(known, pinned=replace(known.pinned, labels=labels))

    async def add(self, rows: Sequence[Row]) -> None:
        """Take rows of one backend. Waits while the database does not keep up."""
        if not self._room.is_set():
            await self._room.wait()
        backend = rows[0].backend
        known = self._progress[backend]
        self._progress[backend] = replace(
            known,
            done=known.done + len(rows),
            failed=known.failed + sum(row.error is not None for row in rows),
            correct=known.correct + sum(row.predicted is not None and row.predicted == row.label for row in rows),
        )
        self._changed.add(backend)
        self._rows.extend(rows)
        if len(self._rows) >= COMMIT_ROWS:
            self._enough.set()
            if len(self._rows) >= MAX_WAITING:
                self._room.clear()

    async def run(self) -> None:
        """Write until cancelled, and hold the lease. Raises `Cancelled`, `LostLease`, or `DatabaseFailed` after some patience."""
        rested = 0.0
        while True:
            try:
                async with asyncio.timeout(COMMIT_S):
                    await self._enough.wait()
            except TimeoutError:
                rested += COMMIT_S
            if self._rows or rested >= self._lease_s / 4:
                await self.flush()
                rested = 0.0

    async def flush(self, patience: float = PATIENCE_S) -> None:
        """Write what there is. Raises as `run` does; `DatabaseFailed` after so many seconds."""
        async with self._one_at_a_time:
            self._enough.clear()
            rows = list(self._rows)
            for backend in list(self._since):
                self._tick(backend)
            progress = [self._progress[backend] for backend in self._changed]
            work = partial(results.commit, job=self._job, owner=self._owner, lease_s=self._lease_s, rows=rows, progress=progress)
            cancel = await self._patiently(work, patience)
            for _ in rows:
                self._rows.popleft()
            self._changed -= {one.pinned.name for one in progress if one == self._progress[one.pinned.name]}
            self._room.set()
            if cancel:
                raise Cancelled

    async def _patiently(self, work: Callable[[Connection], bool], patience: float) -> bool:
        until = time.perf_counter() + patience
        while True:
            try:
                return await self._database.run(work)
            except DatabaseFailed as exc:
                if time.perf_counter() > until:
                    raise
                log.warning("rows wait for the database", extra={"job": self._job, "reason": str(exc)})
                await asyncio.sleep(RETRY_S)

    def _tick(self, backend: str) -> None:
        moment = time.perf_counter()
        known = self._progress[backend]
        self._progress[backend] = replace(known, seconds=known.seconds + moment - self._since[backend])
        self._since[backend] = moment
        self._changed.add(backend)

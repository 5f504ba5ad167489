"""Ended jobs are deleted when they are old, or too many, by whoever has no job to work on.

One is hidden first, and its rows go a few at a time, so that nobody who writes waits for long; whoever comes after a process that
was killed on the way goes on with it. Jobs that have not ended stay, however old they are.
"""

import time
from functools import partial

from sqlalchemy import Connection, delete, or_, select, tuple_, update

from service.database import Database, alone, now
from service.scoring.jobs import ENDED
from service.scoring.tables import DELETED, JOBS, ROWS
from service.settings import Settings

EVERY_S = 60.0
"""How often is looked for jobs whose time is over."""
STEP_ROWS = 2000
"""Rows that one transaction deletes."""
DAY_S = 86_400


class Retention:
    """Belongs to whoever works on jobs."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._keep_s = settings.scorings_keep_days * DAY_S
        self._most = settings.max_kept_scorings
        self._next = 0.0

    async def step(self) -> bool:
        """Delete a little, if there is anything and it is time to look. Returns whether there may be more."""
        if time.monotonic() < self._next:
            return False
        job = await self._database.read(partial(over, keep_s=self._keep_s, most=self._most))
        if job is None:
            self._next = time.monotonic() + EVERY_S
            return False
        await self._database.run(partial(delete_some, job=job))
        return True


def over(connection: Connection, keep_s: float, most: int) -> str | None:
    """A job that shall go: one that is half gone, that ended so many seconds ago, or after whose end so many more have ended."""
    crowd = select(JOBS.c.ended).where(JOBS.c.state.in_(ENDED)).order_by(JOBS.c.ended.desc()).offset(most).limit(1)
    last = connection.execute(crowd).scalar()
    old = JOBS.c.ended < now(connection) - keep_s
    ended = JOBS.c.state.in_(ENDED) & (old if last is None else or_(old, JOBS.c.ended <= last))
    query = select(JOBS.c.id).where(or_(JOBS.c.state == DELETED, ended)).order_by(JOBS.c.ended).limit(1)
    return connection.execute(query).scalar()


def delete_some(connection: Connection, job: str) -> None:
    """Hide a job that has ended, and delete some of its rows; with the last of them it goes itself."""
    alone(connection)
    hidden = {"state": DELETED, "idempotency": None}  # its key may come again
    if not connection.execute(
        update(JOBS).where(JOBS.c.id == job, JOBS.c.state.in_([*ENDED, DELETED])).values(**hidden)
    ).rowcount:
        return
    key = tuple_(ROWS.c.backend, ROWS.c.image)
    some = select(ROWS.c.backend, ROWS.c.image).where(ROWS.c.job == job).limit(STEP_ROWS)
    if connection.execute(delete(ROWS).where(ROWS.c.job == job, key.in_(some))).rowcount < STEP_ROWS:
        connection.execute(delete(JOBS).where(JOBS.c.id == job))

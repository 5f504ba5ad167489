"""A job's rows in the database. Each function is one transaction's work, for `Database.run`."""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache

import numpy as np
from sqlalchemy import Connection, Dialect, case, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from service.scoring.jobs import Job, Progress
from service.scoring.rows import ALL, Chosen, Row
from service.scoring.store import keep
from service.scoring.tables import BACKENDS, ROWS

NEW_ROWS = {
    "sqlite": sqlite.insert(ROWS).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(ROWS).on_conflict_do_nothing(),
}
"""By dialect: rows that are there already stay as they are."""

PAGE = 1000
"""Rows that are in memory at once, where all are gone through."""


def commit(
    connection: Connection, job: str, owner: str, lease_s: float, rows: Sequence[Row], progress: Collection[Progress]
) -> bool:
    """Add rows, and say how far each of some backends is; both or neither. Returns whether the job shall be cancelled.

    Done twice it does no harm: a connection may break after the database has taken it. Raises `LostLease`.
    """
    cancel = keep(connection, job, owner, lease_s)
    if rows:
        _insert(connection, [_values(job, row) for row in rows])
    for one in progress:
        name, labels = one.pinned.name, json.dumps(one.pinned.labels)
        counts = {"done": one.done, "failed": one.failed, "correct": one.correct, "seconds": one.seconds, "labels": labels}
        connection.execute(update(BACKENDS).where(BACKENDS.c.job == job, BACKENDS.c.name == name).values(**counts))
    return cancel


def done(connection: Connection, job: str) -> dict[str, set[str]]:
    """The images that have their row, by backend."""
    found: dict[str, set[str]] = {}
    for one in connection.execute(select(ROWS.c.backend, ROWS.c.image).where(ROWS.c.job == job)):
        found.setdefault(one.backend, set()).add(one.image)
    return found


def has(connection: Connection, job: Job, image: str) -> bool:
    """Whether an image has a row in a job."""
    names = [one.pinned.name for one in job.backends]
    query = select(ROWS.c.image).where(ROWS.c.job == job.id, ROWS.c.backend.in_(names), ROWS.c.image == image).limit(1)
    return connection.execute(query).first() is not None


def counts(connection: Connection, job: str) -> dict[str, tuple[int, int, int]]:
    """Rows, rows with an error, and rows whose prediction is their label, by backend: counted, not believed."""
    query = (
        select(
            ROWS.c.backend,
            func.count(),
            func.count(ROWS.c.error),
            func.coalesce(func.sum(case((ROWS.c.predicted == ROWS.c.label, 1), else_=0)), 0),
        )
        .where(ROWS.c.job == job)
        .group_by(ROWS.c.backend)
    )
    return {backend: (int(rows), int(failed), int(right)) for backend, rows, failed, right in connection.execute(query)}


def page(
    connection: Connection, job: Job, after: tuple[str, str] | None = None, limit: int = PAGE, chosen: Chosen = ALL
) -> list[Row]:
    """Rows by backend and image; `after`: those two of the last one of the page before."""
    pinned = {one.pinned.name: one.pinned for one in job.backends}
    query = select(ROWS).where(ROWS.c.job == job.id).order_by(ROWS.c.backend, ROWS.c.image).limit(limit)
    if after is not None:
        query = query.where(tuple_(ROWS.c.backend, ROWS.c.image) > after)
    for name, value in chosen._asdict().items():
        if value is not None:
            query = query.where(ROWS.c[name] == value)
    return [
        Row(
            one.image,
            one.label,
            one.backend,
            pinned[one.backend].version,
            pinned[one.backend].precision,
            one.predicted,
            one.probability,
            None if one.scores is None else np.frombuffer(one.scores, np.dtype("<f4")),
            one.queue_ms,
            one.decode_ms,
            one.infer_ms,
            one.total_ms,
            one.error,
            one.detail,
        )
        for one in connection.execute(query)
    ]


def _insert(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Hand rows to the driver as they are, which takes half the time: they hold nothing that SQLAlchemy would have to convert."""
    statement, names = _new_rows(connection.dialect)
    connection.exec_driver_sql(statement, [tuple(row[name] for name in names) for row in rows] if names else list(rows))


@cache
def _new_rows(dialect: Dialect) -> tuple[str, Sequence[str] | None]:
    """SQL that adds a row, and the columns in its order; None if it names them."""
    compiled = NEW_ROWS[dialect.name].compile(dialect=dialect)
    return str(compiled), getattr(compiled, "positiontup", None)


def _values(job: str, row: Row) -> dict[str, object]:
    scores = None if row.scores is None else row.scores.astype("<f4").tobytes()
    values = row._asdict() | {"job": job, "scores": scores}
    del values["version"], values["precision"]  # the job's, for all rows of a backend
    return values

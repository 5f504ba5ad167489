"""Jobs in the database: made, taken, kept, ended. Each function is one transaction's work, for `Database.run`.

Who works on a job holds it by name until a time, its lease, and every write of it says that name: who was taken for dead and is
not finds that its writes no longer count.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from models.scoring.facts import Terms
from service.database import alone, now
from service.domain import Identity
from service.errors import KeyReused, UnknownScoring
from service.scoring.jobs import ENDED, NOT_NOTED, OPEN, Event, Job, NewJob, Progress, State, Task, packed, unpacked
from service.scoring.options import Options
from service.scoring.tables import BACKENDS, DELETED, EVENTS, IMAGES, JOBS, ROWS

ALSO = "; then "
"""Between the machines of a job that several worked on."""


class LostLease(Exception):
    """Another process has the job, or it has ended."""


def create(connection: Connection, new: NewJob) -> Job:
    """Queue a job; one that came before under the same idempotency key is returned as it is now. Raises `KeyReused`."""
    alone(connection)
    if new.idempotency is not None and (before := known(connection, new.request, new.idempotency)):
        return before
    values: dict[str, Any] = {
        "id": new.id,
        "state": "queued",
        "created": now(connection),
        "caller": new.caller,
        "idempotency": new.idempotency,
        "request": new.request,
        "options": new.options.model_dump_json(),
        "dataset": json.dumps(new.dataset),
        "cancel": False,
    }
    connection.execute(insert(JOBS), values)
    connection.execute(insert(IMAGES), {"job": new.id, "list": packed(new.tasks)})
    total = len(new.tasks)
    rows = [
        {**asdict(one), "labels": json.dumps(one.labels), "job": new.id, "place": place, "total": total}
        for place, one in enumerate(new.pinned)
    ]
    connection.execute(insert(BACKENDS), rows)
    note(connection, new.id, "queued", {"total": total * len(rows)})
    return get(connection, new.id)


def known(connection: Connection, request: str, idempotency: str | None) -> Job | None:
    """The job that came before under an idempotency key. Raises `KeyReused` if that was another request."""
    found = connection.execute(select(JOBS.c.id, JOBS.c.request).where(JOBS.c.idempotency == idempotency)).one_or_none()
    if found is None:
        return None
    if found.request != request:
        raise KeyReused("This Idempotency-Key came before with another request. Send a new key with a new request.")
    return get(connection, found.id)


def get(connection: Connection, job: str) -> Job:
    """A job. Raises `UnknownScoring`."""
    found = connection.execute(select(JOBS).where(JOBS.c.id == job, JOBS.c.state != DELETED)).mappings().one_or_none()
    if found is None:
        raise UnknownScoring(f"There is no scoring job {job[:40]!r}. GET /v1/scorings lists them.")
    return _jobs(connection, [found])[0]


def newest(connection: Connection, limit: int, before: str | None = None) -> list[Job]:
    """Jobs, newest first; `before` is the id of the last one of the page before."""
    query = select(JOBS).where(JOBS.c.state != DELETED).order_by(JOBS.c.id.desc()).limit(limit)  # ids sort by time
    if before is not None:
        query = query.where(JOBS.c.id < before)
    return _jobs(connection, connection.execute(query).mappings().all())


def tasks(connection: Connection, job: str) -> list[Task]:
    """A job's images, in its order."""
    return unpacked(connection.execute(select(IMAGES.c.list).where(IMAGES.c.job == job)).scalar_one())


def waiting(connection: Connection) -> bool:
    """Whether any job has not ended."""
    return connection.execute(select(JOBS.c.id).where(JOBS.c.state.in_(OPEN)).limit(1)).first() is not None


def take(connection: Connection, owner: str, lease_s: float, dead: Callable[[str], bool] | None) -> Job | None:
    """Hold the oldest job that nobody works on, None if there is none.

    `dead` tells of an owner's name whether that process is gone, where this can be known: then its lease does not count. A job
    that was begun goes before those that were not. One that `owner` holds is its own orphan, which the database failed on: a
    process works on one at a time.
    """
    alone(connection)
    moment = now(connection)
    unheld = or_(JOBS.c.owner.is_(None), JOBS.c.owner == owner, JOBS.c.lease < moment)
    free = or_(JOBS.c.state == "queued", and_(JOBS.c.state == "running", unheld))
    if dead is not None:
        free = JOBS.c.state.in_(OPEN)
    order = (JOBS.c.began.is_(None), JOBS.c.created, JOBS.c.id)
    for found in connection.execute(select(JOBS.c.id, JOBS.c.owner, JOBS.c.began).where(free).order_by(*order)):
        if dead is not None and found.owner not in (None, owner) and not dead(found.owner):
            continue
        began = moment if found.began is None else found.began
        values = {"state": "running", "owner": owner, "lease": moment + lease_s, "began": began}
        if not connection.execute(update(JOBS).where(JOBS.c.id == found.id, free).values(**values)).rowcount:
            continue  # it has ended meanwhile
        note(connection, found.id, "started" if found.began is None else "resumed", {"by": owner})
        return get(connection, found.id)
    return None


def keep(connection: Connection, job: str, owner: str, lease_s: float) -> bool:
    """Hold a job for some time more. Returns whether it shall be cancelled. Raises `LostLease`."""
    mine = and_(JOBS.c.id == job, JOBS.c.owner == owner, JOBS.c.state == "running")
    done = connection.execute(update(JOBS).where(mine).values(lease=now(connection) + lease_s))
    if not done.rowcount:
        raise LostLease(job)
    return bool(connection.execute(select(JOBS.c.cancel).where(JOBS.c.id == job)).scalar_one())


def remember(connection: Connection, job: str, owner: str, machine: str, terms: Mapping[str, Terms]) -> None:
    """Write down what works on a job, and, by backend, the terms of those that have no row yet. Raises `LostLease`."""
    mine = and_(JOBS.c.id == job, JOBS.c.owner == owner, JOBS.c.state == "running")
    found = connection.execute(select(JOBS.c.machine).where(mine)).one_or_none()
    if found is None:
        raise LostLease(job)
    known = found.machine.split(ALSO) if found.machine else []
    connection.execute(update(JOBS).where(mine).values(machine=ALSO.join(dict.fromkeys([*known, machine]))))
    for name, one in terms.items():
        begun = select(ROWS.c.image).where(ROWS.c.job == job, ROWS.c.backend == name).limit(1)
        if connection.execute(begun).first() is None:
            new = {"terms": one.model_dump_json()}
            connection.execute(update(BACKENDS).where(BACKENDS.c.job == job, BACKENDS.c.name == name).values(**new))


def release(connection: Connection, job: str, owner: str) -> None:
    """Let another process go on with it at once."""
    mine = and_(JOBS.c.id == job, JOBS.c.owner == owner, JOBS.c.state == "running")
    if connection.execute(update(JOBS).where(mine).values(owner=None, lease=None)).rowcount:
        note(connection, job, "released", {"by": owner})


def finish(connection: Connection, job: str, owner: str, state: State, said: str | None) -> None:
    """End a job. Raises `LostLease`."""
    mine = and_(JOBS.c.id == job, JOBS.c.owner == owner, JOBS.c.state == "running")
    values = {"state": state, "ended": now(connection), "owner": None, "lease": None, "note": said}
    if not connection.execute(update(JOBS).where(mine).values(**values)).rowcount:
        raise LostLease(job)
    note(connection, job, state, {"note": said})


def again(connection: Connection, job: str) -> None:
    """Put a job that failed back into the queue, with the rows that it has."""
    failed = and_(JOBS.c.id == job, JOBS.c.state == "failed")
    if connection.execute(update(JOBS).where(failed).values(state="queued", ended=None, note=None)).rowcount:
        note(connection, job, "queued", {})


def cancel(connection: Connection, job: str) -> Job:
    """Have a job end with what it has; one that has ended stays as it is. Raises `UnknownScoring`."""
    alone(connection)
    found = get(connection, job)
    if found.state in ENDED or found.cancel:
        return found
    if found.state == "queued":
        values = {"state": "cancelled", "cancel": True, "ended": now(connection), "note": "It was cancelled before it began."}
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(**values))
        note(connection, job, "cancelled", {"note": values["note"]})
    else:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(cancel=True))
    return get(connection, job)


def note(connection: Connection, job: str, kind: str, data: dict[str, Any]) -> None:
    """Write an event down."""
    last = connection.execute(select(func.max(EVENTS.c.number)).where(EVENTS.c.job == job)).scalar() or 0
    values = {"job": job, "number": last + 1, "at": now(connection), "kind": kind, "data": json.dumps(data)}
    connection.execute(insert(EVENTS), values)


def events(connection: Connection, job: str, after: int = 0) -> list[Event]:
    """What happened to a job since an event, in order."""
    query = select(EVENTS).where(EVENTS.c.job == job, EVENTS.c.number > after).order_by(EVENTS.c.number)
    return [Event(one.number, one.at, one.kind, json.loads(one.data)) for one in connection.execute(query)]


def datasets_in_use(connection: Connection) -> set[str]:
    """Names of the sets of jobs that have not ended, without their splits."""
    query = select(JOBS.c.dataset).where(JOBS.c.state.in_(OPEN))
    return {str(json.loads(one)["name"]).partition("#")[0] for one in connection.execute(query).scalars()}


def _jobs(connection: Connection, found: Sequence[RowMapping]) -> list[Job]:
    ids = [one["id"] for one in found]
    query = select(BACKENDS).where(BACKENDS.c.job.in_(ids)).order_by(BACKENDS.c.job, BACKENDS.c.place)
    backends: dict[str, list[Progress]] = {job: [] for job in ids}
    for one in connection.execute(query):
        labels = tuple(json.loads(one.labels))
        pinned = Identity(one.name, one.kind, one.version, one.precision, one.provider, labels)
        terms = NOT_NOTED if one.terms is None else Terms.model_validate_json(one.terms)
        backends[one.job].append(Progress(pinned, one.total, one.done, one.failed, one.correct, one.seconds, terms))
    return [_job(one, backends[one["id"]]) for one in found]


def _job(found: RowMapping, backends: Sequence[Progress]) -> Job:
    return Job(
        id=found["id"],
        state=cast("State", found["state"]),
        created=found["created"],
        began=found["began"],
        ended=found["ended"],
        caller=found["caller"],
        options=Options.model_validate_json(found["options"]),
        dataset=json.loads(found["dataset"]),
        cancel=found["cancel"],
        note=found["note"],
        backends=backends,
        machine=found["machine"],
    )

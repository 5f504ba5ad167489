"""What may be sent to a paid service, kept in the database: its rate and a month's budget, for all processes that share it.

The rate is kept by places, as many as requests a second are allowed. A request takes one before it is sent, and it is free again
a second after the reply has come. So, whatever the network delays, the service never gets more than its rate within any
second, which a token bucket can't promise: its bursts bunch up on the way. The price is throughput: rate / (1 s + latency).
Who dies leaves its places to their lease.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Column, Connection, Double, Integer, String, Table, bindparam, delete, func, insert, select, update

from service.database import alone, metadata, now

SPEND = Table(
    "remote_spend",
    metadata,
    Column("account", String(300), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("calls", Integer, nullable=False),
)
"""Requests by account and month (UTC, `2026-11`)."""

PLACES = Table(
    "remote_places",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account", String(300), nullable=False, index=True),
    Column("until", Double, nullable=False),
)
"""Those that are taken, and when they are free again, in seconds since the epoch."""


@dataclass(frozen=True)
class Terms:
    """What is allowed."""

    account: str
    """Whose rate and budget it is: the same for all who share them."""
    rate: int
    """Requests within any second."""
    budget: int | None
    """Requests a calendar month (UTC); None: as many as you like."""
    lease_s: float
    """How long a place is taken if nobody gives it back: longer than any request."""


@dataclass(frozen=True)
class Returned:
    """A place that is given back."""

    id: str
    month: str
    free_in_s: float | None
    """None: nothing was sent, so it is free at once, and its call is taken off the month."""


@dataclass(frozen=True)
class Grant:
    """What came of asking."""

    places: Sequence[str]
    month: str
    calls: int
    """In this month, of all, these places among them."""
    spent: bool
    """The budget allows no more."""
    wait_s: float
    """Until the next place is free, 0 if one is."""
    month_left_s: float


def exchange(connection: Connection, terms: Terms, returned: Sequence[Returned], wanted: int, spare: int) -> Grant:
    """Give places back and take others, whose calls count from now on: `wanted`, and `spare` more while half of all are free."""
    alone(connection)
    moment = now(connection)
    month = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m")
    _give_back(connection, terms, returned, moment)
    connection.execute(delete(PLACES).where(PLACES.c.account == terms.account, PLACES.c.until <= moment))
    taken, first = connection.execute(
        select(func.count(), func.min(PLACES.c.until)).where(PLACES.c.account == terms.account)
    ).one()
    calls = _calls(connection, terms.account, month)
    free = max(0, terms.rate - taken)
    granted = min(free, wanted) + max(0, min(spare, free - wanted - terms.rate // 2))
    if terms.budget is not None:
        granted = max(0, min(granted, terms.budget - calls))
    places = [uuid4().hex for _ in range(granted)]
    if places:
        rows = [{"id": place, "account": terms.account, "until": moment + terms.lease_s} for place in places]
        connection.execute(insert(PLACES), rows)
        _add(connection, terms.account, month, granted)
    spent = terms.budget is not None and calls + granted >= terms.budget
    wait = max(0.0, first - moment) if granted == free and first is not None else 0.0
    return Grant(places, month, calls + granted, spent, wait, _month_left(moment))


def _give_back(connection: Connection, terms: Terms, returned: Sequence[Returned], moment: float) -> None:
    used = [{"place": one.id, "free": moment + one.free_in_s} for one in returned if one.free_in_s is not None]
    if used:
        connection.execute(update(PLACES).where(PLACES.c.id == bindparam("place")).values(until=bindparam("free")), used)
    unused = [one for one in returned if one.free_in_s is None]
    if unused:
        connection.execute(delete(PLACES).where(PLACES.c.id.in_([one.id for one in unused])))
        for month in {one.month for one in unused}:
            _add(connection, terms.account, month, -sum(one.month == month for one in unused))


def _calls(connection: Connection, account: str, month: str) -> int:
    found = connection.execute(select(SPEND.c.calls).where(SPEND.c.account == account, SPEND.c.month == month)).scalar()
    if found is None:
        connection.execute(insert(SPEND), {"account": account, "month": month, "calls": 0})
    return found or 0


def _add(connection: Connection, account: str, month: str, calls: int) -> None:
    row = (SPEND.c.account == account, SPEND.c.month == month)
    connection.execute(update(SPEND).where(*row).values(calls=SPEND.c.calls + calls))


def _month_left(moment: float) -> float:
    """Seconds to the first of the next month."""
    here = datetime.fromtimestamp(moment, UTC)
    following = datetime(here.year + here.month // 12, here.month % 12 + 1, 1, tzinfo=UTC)
    return following.timestamp() - moment

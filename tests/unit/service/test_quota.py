"""The rate and the budget that processes share, in either database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from service.backends import quota
from service.backends.quota import Grant, Returned, Terms, exchange
from service.database import Database
from service.errors import DatabaseFailed
from service.settings import Settings, load_settings
from tests.support.databases import settings_for

TERMS = Terms("somebody", rate=4, budget=None, lease_s=600)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with settings_for(request.param, tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture
def terms(request: pytest.FixtureRequest) -> Terms:
    """Of a test's own account."""
    return replace(TERMS, account=request.node.name)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    found = Database(settings)
    yield found
    await found.close()


async def ask(database: Database, terms: Terms, wanted: int = 0, *returned: Returned, spare: int = 0) -> Grant:
    return await database.run(partial(exchange, terms=terms, returned=returned, wanted=wanted, spare=spare))


async def test_there_are_as_many_places_as_the_rate(database: Database, terms: Terms) -> None:
    first = await ask(database, terms, 3)
    assert (len(first.places), first.calls, first.wait_s) == (3, 3, 0)
    rest = await ask(database, terms, 3)
    assert len(rest.places) == 1
    assert 500 < rest.wait_s <= 600, "the first lease ends"
    assert len((await ask(database, replace(terms, account=f"{terms.account} 2"), 4)).places) == 4


async def test_a_place_is_free_again_when_its_time_is_over(database: Database, terms: Terms) -> None:
    grant = await ask(database, terms, 4)
    back = [Returned(grant.places[0], grant.month, 0.0), Returned(grant.places[1], grant.month, 30.0)]
    again = await ask(database, terms, 4, *back)
    assert len(again.places) == 1
    assert 29 < again.wait_s <= 30
    assert again.calls == 5


async def test_a_place_that_was_not_used_is_free_at_once_and_costs_nothing(database: Database, terms: Terms) -> None:
    grant = await ask(database, terms, 4)
    again = await ask(database, terms, 2, *[Returned(one, grant.month, None) for one in grant.places])
    assert (len(again.places), again.calls) == (2, 2)


async def test_spare_places_are_had_while_half_are_free(database: Database, terms: Terms) -> None:
    assert len((await ask(database, terms, 1, spare=4)).places) == 2
    assert len((await ask(database, terms, 1, spare=4)).places) == 1


async def test_the_budget_ends_the_month(database: Database, terms: Terms) -> None:
    tight = replace(terms, budget=3)
    assert not (await ask(database, tight, 2)).spent
    last = await ask(database, tight, 2)
    assert (len(last.places), last.calls, last.spent) == (1, 3, True)
    assert 0 < last.month_left_s <= 31 * 86_400


async def test_a_new_month_has_a_budget_of_its_own(database: Database, terms: Terms, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC).timestamp()
    monkeypatch.setattr(quota, "now", lambda _connection: moment)
    tight = replace(terms, budget=2)
    december = await ask(database, tight, 2)
    assert (december.month, december.spent, december.month_left_s) == ("2026-12", True, 10)
    moment += 11
    january = await ask(database, tight, 1, Returned(december.places[0], december.month, None))
    assert (january.month, january.calls, len(january.places)) == ("2027-01", 1, 1)
    moment -= 11
    assert (await ask(database, tight)).calls == 1, "what is given back is taken off its own month"


async def test_processes_that_ask_at_once_get_no_place_twice(settings: Settings, terms: Terms) -> None:
    many = [Database(settings) for _ in range(4)]
    wide = replace(terms, rate=30, budget=25)
    grants = await asyncio.gather(*(ask(many[number % 4], wide, 3) for number in range(20)))
    places = [place for grant in grants for place in grant.places]
    assert len(places) == len(set(places)) == 25
    assert max(grant.calls for grant in grants) == 25
    for one in many:
        await one.close()


async def test_the_month_survives_the_process(settings: Settings, terms: Terms) -> None:
    for calls in (2, 4):
        database = Database(settings)
        grant = await ask(database, terms, 2)
        assert grant.calls == calls
        await database.close()


async def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    database = Database(load_settings(database_url="postgresql://who:s3cret-word@127.0.0.1:1/x"))
    with pytest.raises(DatabaseFailed, match="PARALLAX_DATABASE_URL") as failed:
        await ask(database, TERMS, 1)
    assert "s3cret-word" not in f"{failed.value!r} {failed.value.__cause__!r} {database!r}"
    await database.close()
    (tmp_path / "parallax.db").write_bytes(b"no database" * 100)
    broken = Database(load_settings(data_dir=tmp_path))
    with pytest.raises(DatabaseFailed, match="PARALLAX_DATA_DIR"):
        await ask(broken, TERMS, 1)
    await broken.close()


async def test_the_file_is_one_that_readers_can_read_while_it_is_written(tmp_path: Path) -> None:
    database = Database(load_settings(data_dir=tmp_path))
    await ask(database, TERMS, 1)
    with sqlite3.connect(tmp_path / "parallax.db") as reader:
        assert reader.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert reader.execute("SELECT calls FROM remote_spend").fetchall() == [(1,)]
    reader.close()
    await database.close()

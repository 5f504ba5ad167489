"""Who holds a job, and that nobody else's writes count."""

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, inspect

from models.scoring.facts import Terms, Training
from service.database import Database
from service.domain import Identity
from service.errors import DatabaseFailed
from service.scoring import results, store
from service.scoring.jobs import NewJob, Task
from service.scoring.options import Options
from service.scoring.owners import Owner
from service.scoring.rows import Row
from service.settings import load_settings
from tests.support.databases import settings_for

PINNED = Identity("a", "fake", "1", "none", "none", ("x", "y"))
NEW = NewJob("job", "", Options(dataset="s"), {"name": "s"}, [PINNED], [Task("1", "x"), Task("2", "y")], "digest")


def row(image: str) -> Row:
    return Row(image, "x", "a", "1", "none", "x", 0.75, np.array([0.75, 0.25], np.float32), 1.0, 2.0, 3.0, 6.0, None)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    found = Database(load_settings(data_dir=tmp_path))
    await found.run(partial(store.create, new=NEW))
    yield found
    await found.close()


async def test_whoever_was_taken_for_dead_can_write_no_more(database: Database) -> None:
    take = partial(store.take, lease_s=-1, dead=None)  # it is over at once
    commit = partial(results.commit, job="job", lease_s=-1, rows=[row("1")], progress=[])
    assert await database.run(partial(take, owner="first"))
    assert await database.run(partial(commit, owner="first")) is False
    assert await database.run(partial(take, owner="second"))
    for work in (
        partial(commit, owner="first", rows=[row("2")]),
        partial(store.keep, job="job", owner="first", lease_s=9),
        partial(store.finish, job="job", owner="first", state="succeeded", said=None),
    ):
        with pytest.raises(store.LostLease):
            await database.run(work)
    await database.run(partial(store.release, job="job", owner="first"))
    assert await database.run(partial(results.done, job="job")) == {"a": {"1"}}
    assert (await database.run(partial(store.get, job="job"))).state == "running"
    await database.run(partial(store.finish, job="job", owner="second", state="succeeded", said=None))


async def test_a_commit_that_is_done_twice_counts_once(database: Database) -> None:
    assert await database.run(partial(store.take, owner="me", lease_s=60, dead=None))
    commit = partial(results.commit, job="job", owner="me", lease_s=60, progress=[])
    await database.run(partial(commit, rows=[row("1")]))
    await database.run(partial(commit, rows=[row("1"), row("2")]))
    job = await database.run(partial(store.get, job="job"))
    rows = await database.run(partial(results.page, job=job))
    assert [one.image for one in rows] == ["1", "2"]
    assert rows[0]._replace(scores=None) == row("1")._replace(scores=None)
    assert rows[0].scores is not None
    assert rows[0].scores.tolist() == [0.75, 0.25]
    assert await database.run(partial(results.counts, job="job")) == {"a": (2, 0, 2)}


async def test_a_lease_that_lasts_is_not_taken_and_one_of_a_dead_process_is(database: Database, tmp_path: Path) -> None:
    first, second = Owner(tmp_path), Owner(tmp_path)
    first.open()
    second.open()
    try:
        assert await database.run(partial(store.take, owner=first.name, lease_s=60, dead=first.dead))
        assert await database.run(partial(store.take, owner=second.name, lease_s=60, dead=second.dead)) is None
        assert await database.run(partial(store.take, owner=second.name, lease_s=60, dead=None)) is None
        first.close()
        assert await database.run(partial(store.take, owner=second.name, lease_s=60, dead=second.dead))
    finally:
        second.close()


async def test_the_steps_make_the_tables_that_the_code_declares(database: Database, tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from service.backends import quota
    from service.database import metadata

    assert quota.SPEND.name in await database.run(lambda connection: inspect(connection).get_table_names())
    assert await database.run(lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)) == []


async def test_a_database_of_before_the_steps_is_taken_over_as_it_is(tmp_path: Path) -> None:
    import sqlite3

    old = tmp_path / "old"
    old.mkdir()
    with sqlite3.connect(old / "parallax.db") as connection:
        connection.execute("CREATE TABLE remote_spend (account VARCHAR(300), month VARCHAR(7), calls INTEGER NOT NULL)")
        connection.execute("INSERT INTO remote_spend VALUES ('somebody', '2026-11', 7)")
    connection.close()
    database = Database(load_settings(data_dir=old))
    assert (await database.run(partial(store.create, new=NEW))).state == "queued"
    assert await database.run(lambda one: one.exec_driver_sql("SELECT calls FROM remote_spend").scalar()) == 7
    await database.close()


async def test_a_job_that_its_own_process_let_fall_is_taken_again(database: Database, tmp_path: Path) -> None:
    owner, other = Owner(tmp_path), Owner(tmp_path)
    owner.open()
    other.open()
    try:
        for dead in (owner.dead, None):  # on SQLite, and where only leases tell
            assert await database.run(partial(store.take, owner=owner.name, lease_s=60, dead=dead))
            assert await database.run(partial(store.take, owner=owner.name, lease_s=60, dead=dead))
        assert await database.run(partial(store.take, owner=other.name, lease_s=60, dead=other.dead)) is None
    finally:
        owner.close()
        other.close()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same process", "another"])
async def test_who_reads_waits_for_nobody_who_writes(database: Database, tmp_path: Path, elsewhere: bool) -> None:
    writer = Database(load_settings(data_dir=tmp_path)) if elsewhere else database
    writing, done = threading.Event(), threading.Event()

    def write(connection: Connection) -> bool:
        store.release(connection, "job", "nobody")
        writing.set()
        return done.wait(10)

    under_way = asyncio.ensure_future(writer.run(write))
    await asyncio.to_thread(writing.wait, 10)
    assert (await database.read(partial(store.get, job="job"))).state == "queued"
    done.set()
    assert await under_way, "it was read before the writer had done"
    if elsewhere:
        await writer.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_who_reads_can_t_write_and_the_next_one_can(tmp_path: Path, kind: str) -> None:
    with settings_for(kind, tmp_path / "other") as settings:
        database = Database(settings)
        with pytest.raises(DatabaseFailed):
            await database.read(partial(store.create, new=NEW))
        await database.run(partial(store.create, new=NEW))
        assert await database.read(store.waiting)
        await database.close()


async def test_what_results_state_is_written_down_once_and_machines_as_they_come(database: Database) -> None:
    remember = partial(store.remember, job="job", owner="me")
    with pytest.raises(store.LostLease):
        await database.run(partial(remember, machine="a small one", terms={}))
    assert await database.run(partial(store.take, owner="me", lease_s=60, dead=None))
    first, second = Terms(usd_per_hour=1, training=Training(recipe="cnn", minutes=9)), Terms(usd_per_hour=2)
    for machine, terms in (("a small one", second), ("a large one", first)):
        await database.run(partial(remember, machine=machine, terms={"a": terms}))
    assert (await database.read(partial(store.get, job="job"))).backends[0].terms == first, "no image was sent under the others"
    await database.run(partial(results.commit, job="job", owner="me", lease_s=60, rows=[row("1")], progress=[]))
    await database.run(partial(remember, machine="a small one", terms={"a": second}))
    job = await database.read(partial(store.get, job="job"))
    assert job.machine == "a small one; then a large one"
    assert job.backends[0].terms == first

"""Which jobs are deleted, and that nothing else is."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from service.database import Database, metadata
from service.errors import UnknownScoring
from service.scoring import results, retention, store
from service.scoring.retention import DAY_S, Retention
from service.scoring.tables import EVENTS, IMAGES, JOBS, ROWS
from service.settings import Settings
from tests.support.databases import settings_for
from tests.support.images import labelled, write_folder
from tests.unit.service.scoring.desks import office, until_async
from tests.unit.service.scoring.test_store import NEW, row


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with settings_for(request.param, tmp_path_factory.mktemp("data")) as found:
        yield found.model_copy(update={"scorings_keep_days": 10, "max_kept_scorings": 3})


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    found = Database(settings)
    yield found
    await found.run(lambda connection: [connection.execute(table.delete()) for table in reversed(metadata.sorted_tables)])
    await found.close()


async def made(database: Database, name: str, days: float | None, rows: int = 5) -> None:
    """A job that ended so many days ago, or is under way."""
    await database.run(partial(store.create, new=replace(NEW, id=name, idempotency=f"key of {name}")))
    assert await database.run(partial(store.take, owner=name, lease_s=600, dead=None))
    some = [row(str(number)) for number in range(rows)]
    await database.run(partial(results.commit, job=name, owner=name, lease_s=600, rows=some, progress=[]))
    if days is None:
        return
    await database.run(partial(store.finish, job=name, owner=name, state="succeeded", said=None))
    ended = update(JOBS).where(JOBS.c.id == name).values(ended=JOBS.c.ended - days * DAY_S)
    await database.run(lambda connection: connection.execute(ended))


async def kept(database: Database) -> list[str]:
    return sorted(job.id for job in await database.read(partial(store.newest, limit=50)))


async def test_old_jobs_go_and_those_beyond_the_cap_and_none_that_goes_on(database: Database, settings: Settings) -> None:
    ages = {"old": 11.0, "fourth": 4.0, "third": 3.0, "second": 2.0, "first": 1.0}
    for name, days in ages.items():
        await made(database, name, days)
    await made(database, "running", None)
    await database.run(lambda one: one.execute(update(JOBS).where(JOBS.c.id == "running").values(created=0, began=0)))
    while await Retention(database, settings).step():
        pass
    assert await kept(database) == ["first", "running", "second", "third"]
    for table, each in ((ROWS, 5), (EVENTS, None), (IMAGES, 1)):
        count = select(table.c.job, func.count()).group_by(table.c.job)
        left = {job: number for job, number in await database.read(lambda one, count=count: one.execute(count).all())}  # type: ignore[misc]  # noqa: C416
        assert sorted(left) == ["first", "running", "second", "third"]
        assert each is None or set(left.values()) == {each}


async def test_a_job_goes_a_few_rows_at_a_time_and_is_not_seen_meanwhile(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", 2)
    await made(database, "old", 11)
    count = select(func.count()).select_from(ROWS)
    left = []
    while await Retention(database, settings).step():  # each time somebody else, as after a kill
        left.append(await database.read(lambda one: one.execute(count).scalar_one()))
        with pytest.raises(UnknownScoring):
            await database.read(partial(store.get, job="old"))
        assert await kept(database) == []
        assert await database.read(partial(store.known, request="digest", idempotency="key of old")) is None
    assert left == [3, 1, 0]


async def test_nobody_looks_all_the_time(database: Database, settings: Settings) -> None:
    keeper = Retention(database, settings)
    assert not await keeper.step()
    await made(database, "old", 11)
    assert not await keeper.step(), "it looked a moment ago"
    assert await kept(database) == ["old"]


async def test_whoever_has_no_job_deletes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVERY_S", 0)
    write_folder(tmp_path / "sets" / "set", labelled({"a": 2, "b": 2}))
    settings = Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path / "sets", models_dir=tmp_path / "store")
    async with office(settings.model_copy(update={"max_kept_scorings": 1})) as here:
        jobs = [await here.hand_in(dataset="set") for _ in range(3)]

        async def one() -> bool:
            return [job.id for job in await here.desk.newest(9, None)] == [jobs[-1].id]

        await until_async(one, "only the last one is left")
        assert (await here.desk.get(jobs[-1].id)).done == 8

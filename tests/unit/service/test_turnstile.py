"""Waiting for a place: order, places in hand, people who leave, a budget that ends, a database that is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from service.backends.quota import Terms, exchange
from service.backends.turnstile import PERIOD_S, Place, Turnstile
from service.database import Database
from service.errors import BudgetSpent, DatabaseFailed
from service.settings import load_settings
from service.tally import Tally
from tests.unit.service.stand_ins import soon, until


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    found = Database(load_settings(data_dir=tmp_path))
    yield found
    await found.close()


@asynccontextmanager
async def opened(database: Database, rate: int, budget: int | None = None) -> AsyncIterator[Turnstile]:
    turnstile = Turnstile(database, Terms("somebody", rate, budget, lease_s=10), 1.0, Tally())
    turnstile.open()
    yield turnstile
    await turnstile.close()


async def month_calls(database: Database) -> int:
    grant = await database.run(partial(exchange, terms=Terms("somebody", 1000, None, 1), returned=[], wanted=0, spare=0))
    return grant.calls


async def test_no_more_are_let_in_within_a_second_than_the_rate(database: Database) -> None:
    entered: list[float] = []
    left: list[float] = []
    loop = asyncio.get_running_loop()

    async def one(turnstile: Turnstile) -> None:
        place = await turnstile.enter()
        entered.append(loop.time())
        await asyncio.sleep(0)
        left.append(loop.time())
        turnstile.leave(place)

    async with opened(database, 40) as turnstile:
        await soon(asyncio.gather(*(one(turnstile) for _ in range(100))))
    assert all(later - earlier >= PERIOD_S for earlier, later in zip(sorted(left), sorted(entered)[40:], strict=False))
    assert await month_calls(database) == 100


async def test_a_place_in_hand_is_had_without_asking_and_given_back_when_idle(database: Database) -> None:
    async with opened(database, 50) as turnstile:
        turnstile.leave(await soon(turnstile.enter()))
        await until(lambda: len(turnstile._hand) == 5, "some are in hand")
        place = await soon(turnstile.enter())
        assert len(turnstile._hand) == 4
        turnstile.unused(place)
        await until(lambda: not turnstile._hand and not turnstile._returned, "all were given back")
        assert await month_calls(database) == 1


async def test_at_the_end_all_that_was_not_used_is_given_back(database: Database) -> None:
    async with opened(database, 50) as turnstile:
        turnstile.leave(await soon(turnstile.enter()))
        await until(lambda: len(turnstile._hand) == 5, "some are in hand")
    assert await month_calls(database) == 1


async def test_who_leaves_the_queue_takes_no_place(database: Database) -> None:
    async with opened(database, 1) as turnstile:
        first = await soon(turnstile.enter())
        gone = asyncio.create_task(turnstile.enter())
        await until(lambda: bool(turnstile._waiting), "it waits")
        stays = asyncio.create_task(turnstile.enter())
        gone.cancel()
        turnstile.unused(first)
        assert isinstance(await soon(stays), Place)
    assert await month_calls(database) == 1


async def test_a_service_that_says_wait_shuts_its_place(database: Database) -> None:
    async with opened(database, 1) as turnstile:
        turnstile.leave(await soon(turnstile.enter()), shut_s=86_400)
        waits = asyncio.create_task(turnstile.enter())
        await until(lambda: turnstile._look_in > 0 and not turnstile._returned, "the database was told")
        grant = await database.run(partial(exchange, terms=Terms("somebody", 1, None, 1), returned=[], wanted=1, spare=0))
        assert 55 < grant.wait_s <= 61, "but somebody looks again within a minute"
        waits.cancel()
        await asyncio.wait([waits])


async def test_a_spent_budget_is_told_at_once_with_the_time_to_come_back(database: Database) -> None:
    async with opened(database, 20, budget=1) as turnstile:
        turnstile.leave(await soon(turnstile.enter()))
        with pytest.raises(BudgetSpent, match="1 calls are made") as refused:
            await soon(turnstile.enter())
        assert 0 < refused.value.retry_after <= 31 * 86_400


async def test_without_its_database_nothing_is_let_in(tmp_path: Path) -> None:
    database = Database(load_settings(database_url="postgresql://who:s3cret@127.0.0.1:1/x", data_dir=tmp_path))
    async with opened(database, 20) as turnstile:
        for _ in range(2):
            with pytest.raises(DatabaseFailed):
                await soon(turnstile.enter())
    await database.close()

"""What the edge found out about a request, and callers who leave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.alarms import Alarms
from service.api.problems import problem_response
from service.api.requests import Call, UnlessGone, asker
from service.errors import BadParameter
from service.settings import load_settings
from tests.unit.service.stand_ins import soon, until

GONE = {"type": "http.disconnect"}


def call(caller: str = "alice", headers: Mapping[bytes, bytes] | None = None) -> Call:
    return Call("id", caller, headers or {}, problem_response)


@pytest.mark.parametrize(
    ("priority", "background"),
    [
        (None, False),
        (b"", False),
        (b"u=0", False),
        (b"u=3", False),
        (b"u=4", True),
        (b"u=7", True),
        (b"i, u=5", True),
        (b"u=5,i", True),
        (b" u=6 , i", True),
        (b"i", False),
        (b"u", False),
        (b"u=", False),
        (b"u=10", False),
        (b"u=-1", False),
        (b"u=five", False),
        (b"urgency=5", False),
        (b"U=5", False),
        (b"\xff=5, \xb2", False),
        (b"u=\xb2", False),  # a digit in Unicode, in a header none
    ],
)
async def test_nobody_waits_for_what_is_less_urgent_than_usual(priority: bytes | None, background: bool) -> None:
    """RFC 9218: u is 3 unless said, and what makes no sense is ignored."""
    headers = {} if priority is None else {b"priority": priority}
    assert asker(call(headers=headers), load_settings()).background is background


@pytest.mark.parametrize(("asked", "milliseconds"), [(None, 2000), (b"500", 500), (b"2000", 2000), (b"999999", 2000)])
async def test_a_deadline_counts_from_now_and_is_at_most_the_configured_one(asked: bytes | None, milliseconds: int) -> None:
    headers = {} if asked is None else {b"x-deadline-ms": asked}
    loop = asyncio.get_running_loop()
    before = loop.time()
    found = asker(call(headers=headers), load_settings(deadline_ms=2000))
    assert found.deadline is not None
    assert before + milliseconds / 1000 <= found.deadline <= loop.time() + milliseconds / 1000
    assert found.caller == "alice"


@pytest.mark.parametrize("asked", [b"", b"0", b"-1", b"1.5", b"soon", b"1e3", b"\xff", b"\xb2"])
async def test_a_deadline_that_makes_no_sense_is_the_callers_to_mend(asked: bytes) -> None:
    with pytest.raises(BadParameter, match="X-Deadline-Ms"):
        asker(call(headers={b"x-deadline-ms": asked}), load_settings())


class Connection:
    """A connection that hangs up when the test says so."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()
        self.alarms = Alarms(0)
        self.asked = 0
        self.listening = 0
        self.error: Exception | None = None

    @property
    def request(self) -> Request:
        """After its body was read."""
        return Request({"type": "http"}, self.receive)

    async def receive(self) -> Message:
        self.asked += 1
        self.listening += 1
        try:
            await self.hung_up.wait()
        finally:
            self.listening -= 1
        if self.error:
            raise self.error
        return GONE


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    """It is watched from the first turn of the loop on."""
    made = Connection()
    yield made
    await until(lambda: not made.listening, "nobody is left behind who listens")


async def within(connection: Connection, work: Callable[[], Awaitable[object]]) -> object:
    with UnlessGone(connection.request, connection.alarms):
        return await work()


async def test_a_caller_who_hangs_up_cancels_the_block(connection: Connection) -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.ensure_future(within(connection, work))
    await until(lambda: connection.asked, "somebody listens for a hang-up")
    connection.hung_up.set()
    with pytest.raises(ClientDisconnect):
        await soon(task)
    assert cancelled.is_set()
    assert task.cancelling() == 0
    assert not task.cancelled()


async def test_a_cancellation_from_outside_stays_one(connection: Connection) -> None:
    task = asyncio.ensure_future(within(connection, asyncio.Event().wait))
    await until(lambda: connection.asked, "somebody listens for a hang-up")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def test_a_cancellation_from_outside_stays_one_even_if_the_caller_hangs_up_as_well(connection: Connection) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            task.cancel()  # the server stops while the block cleans up

    task = asyncio.ensure_future(within(connection, work))
    await until(lambda: connection.asked, "somebody listens for a hang-up")
    connection.hung_up.set()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


async def test_a_timeout_within_the_block_is_told_from_a_hang_up(connection: Connection) -> None:
    async def work() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await within(connection, work)


async def test_an_error_while_the_block_cleans_up_after_a_hang_up_is_its_own(connection: Connection) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise BadParameter("no")

    task = asyncio.ensure_future(within(connection, work))
    await until(lambda: connection.asked, "somebody listens for a hang-up")
    connection.hung_up.set()
    with pytest.raises(BadParameter):
        await soon(task)
    assert task.cancelling() == 0


async def test_an_answer_in_time_is_handed_on_and_nobody_listens_any_more(connection: Connection) -> None:
    async def work() -> str:
        await until(lambda: connection.asked, "somebody listens for a hang-up")
        return "an answer"

    assert await within(connection, work) == "an answer"
    connection.hung_up.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection.asked == 1


async def test_an_error_of_the_block_is_its_own(connection: Connection) -> None:
    async def work() -> None:
        await until(lambda: connection.asked, "somebody listens for a hang-up")
        raise BadParameter("no")

    with pytest.raises(BadParameter):
        await within(connection, work)


async def test_a_quick_answer_costs_no_task(connection: Connection) -> None:
    connection.alarms = Alarms(3600)
    before = asyncio.all_tasks()
    with UnlessGone(connection.request, connection.alarms):
        for _ in range(5):
            await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
    assert connection.asked == 0


async def test_nobody_listens_on_behalf_of_an_answer_that_was_given(connection: Connection) -> None:
    with UnlessGone(connection.request, connection.alarms):
        pass
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection.asked == 0


async def test_a_connection_that_breaks_in_another_way_cancels_nobody(connection: Connection) -> None:
    connection.error = RuntimeError("the server's own")
    connection.hung_up.set()

    async def work() -> str:
        await until(lambda: connection.asked, "somebody listens for a hang-up")
        for _ in range(5):
            await asyncio.sleep(0)
        return "an answer"

    assert await within(connection, work) == "an answer"

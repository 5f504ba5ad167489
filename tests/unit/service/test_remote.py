"""A remote backend's way out: attempts, pauses, errors, and a key that goes nowhere else."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from service.backends.azure_ml import HINTS
from service.backends.remote import MAX_ATTEMPTS, MAX_REPLY_BYTES, Remote
from service.backends.replies import by_status
from service.errors import BackendFailed, RemoteBusy, RemoteFailed, RemoteTimedOut
from tests.support.azure_endpoint import KEY, Endpoint, Reply, endpoint
from tests.support.images import plain
from tests.unit.service.stand_ins import soon

BODY = b'{"input_data":{"columns":["image"],"index":[0],"data":[""]}}'
OK = Reply(body='[{"probs": [1, 0], "labels": ["a", "b"]}]')


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint() as found:
        found.always = OK
        yield found


class Pauses(list[float]):
    """Notes how long it was told to wait, and does not."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@asynccontextmanager
async def remote(address: str, *, pauses: Pauses | None = None, key: str = KEY, timeout_s: float = 20) -> AsyncIterator[Remote]:
    found = Remote(
        "azure_ml",
        address,
        {"Authorization": f"Bearer {key}"},
        secret=key,
        timeout_s=timeout_s,
        explain=by_status(HINTS),
        wait=Pauses() if pauses is None else pauses,
    )
    found.open()
    try:
        yield found
    finally:
        await found.close()


async def test_the_key_travels_in_its_header_and_the_reply_is_json(there: Endpoint) -> None:
    async with remote(there.url) as found:
        assert found.state == "checking"
        assert await soon(found.ask(BODY)) == json.loads(OK.body)
        assert (found.state, found.reason) == ("ready", None)
    (asked,) = there.asked
    assert asked.path == "/score"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_go_better_is_tried_again_after_growing_pauses(there: Endpoint, status: int) -> None:
    there.script.extend([Reply(status), Reply(status), Reply(status)])
    pauses = Pauses()
    async with remote(there.url, pauses=pauses) as found:
        assert await soon(found.ask(BODY)) == json.loads(OK.body)
    assert len(there.asked) == 4
    assert 0.125 <= pauses[0] <= 0.25 <= pauses[1] <= 0.5 <= pauses[2] <= 1


@pytest.mark.parametrize(
    ("form", "seconds"),
    [("7", 7.0), ("date", 7.0), ("soon", 0.0), ("-3", 0.0), ("0", 0.0)],
)
async def test_retry_after_is_honoured_in_both_of_its_forms(there: Endpoint, form: str, seconds: float) -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=7.5), usegmt=True) if form == "date" else form
    there.script.append(Reply(429, headers={"Retry-After": value}))
    pauses = Pauses()
    async with remote(there.url, pauses=pauses) as found:
        assert await soon(found.ask(BODY))
    (pause,) = pauses
    assert pause == pytest.approx(seconds or 0.19, abs=1.0 if seconds else 0.07)


async def test_a_pause_that_the_deadline_does_not_allow_is_passed_on_to_the_caller(there: Endpoint) -> None:
    there.always = Reply(429, headers={"Retry-After": "30"})
    pauses = Pauses()
    async with remote(there.url, pauses=pauses) as found:
        with pytest.raises(RemoteBusy, match="429") as refused:
            await soon(found.ask(BODY))
        assert refused.value.retry_after == 30
        assert (found.state, pauses, len(there.asked)) == ("checking", [], 1), "busy is not failing"


async def test_attempts_end(there: Endpoint) -> None:
    there.always = Reply(503, "overloaded")
    async with remote(there.url) as found:
        with pytest.raises(RemoteFailed, match="status 503"):
            await soon(found.ask(BODY))
        assert found.state == "failing"
        assert len(there.asked) == MAX_ATTEMPTS


@pytest.mark.parametrize(("status", "what"), [(400, "status 400"), (403, "__KEY"), (404, "__DEPLOYMENT"), (424, "model behind")])
async def test_what_can_t_go_better_is_not_tried_again(there: Endpoint, status: int, what: str) -> None:
    there.always = Reply(status, "<html>a page of some gateway</html>")
    async with remote(there.url) as found:
        with pytest.raises(RemoteFailed, match=what) as failed:
            await soon(found.ask(BODY))
        assert found.reason == str(failed.value)
        assert "gateway" not in found.reason, "what it says is for the log"
        assert len(there.asked) == 1


async def test_a_wrong_key_is_named_and_never_shown(there: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    there.script.append(Reply(401, f"no such key: {KEY}"))
    async with remote(there.url) as found:
        with pytest.raises(RemoteFailed, match="PARALLAX_AZURE_ML__KEY"):
            await soon(found.ask(BODY))
    (record,) = (record for record in caplog.records if record.message == "remote refused")
    assert vars(record)["said"] == "no such key: ***"
    assert vars(record)["status"] == 401


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_told_and_not_followed(there: Endpoint, status: int) -> None:
    with endpoint() as elsewhere:
        there.always = Reply(status, headers={"Location": elsewhere.url})
        async with remote(there.url) as found:
            with pytest.raises(RemoteFailed, match=f"sends on to 127.0.0.1:{elsewhere.port} .*where the key is not sent"):
                await soon(found.ask(BODY))
        assert elsewhere.asked == []
    assert len(there.asked) == 1


@pytest.mark.parametrize("body", ["<html>Sign in</html>", "", "[" * 100_000, "{"], ids=["html", "empty", "deep", "half"])
async def test_a_reply_that_is_no_json_is_the_endpoints_failure(there: Endpoint, body: str) -> None:
    there.always = Reply(200, body)
    async with remote(there.url) as found:
        with pytest.raises(RemoteFailed, match="no JSON"):
            await soon(found.ask(BODY))


async def test_a_reply_without_end_is_not_read_to_it(there: Endpoint) -> None:
    there.always = Reply(200, "1" * (MAX_REPLY_BYTES + 1))
    async with remote(there.url) as found:
        with pytest.raises(RemoteFailed, match="more than 1,000,000 bytes"):
            await soon(found.ask(BODY))


async def test_one_that_does_not_answer_is_waited_for_until_the_deadline(there: Endpoint) -> None:
    there.always = Reply(until=threading.Event())
    async with remote(there.url, timeout_s=0.2) as found:
        with pytest.raises(RemoteTimedOut, match=r"within 0\.2 s"):
            await soon(found.ask(BODY))
        states = [found.state]
        there.always = OK
        assert await soon(found.ask(BODY))
        assert [*states, found.state] == ["failing", "ready"]


async def test_one_that_is_not_there_can_come_back(caplog: pytest.LogCaptureFixture) -> None:
    with endpoint() as gone:
        port = gone.port
    async with remote(gone.url) as found:
        with pytest.raises(RemoteFailed, match="can't be reached"):
            await soon(found.ask(BODY))
        assert found.state == "failing"
        assert {record.levelno for record in caplog.records if record.name == "parallax.remote"} == {logging.WARNING}
        with endpoint(port=port) as back:
            back.always = OK
            assert await soon(found.ask(BODY))


async def test_a_caller_that_is_cancelled_leaves_the_pool_usable(there: Endpoint) -> None:
    there.script.extend([Reply(until=threading.Event())] * 2)
    async with remote(there.url) as found:
        tasks = [asyncio.create_task(found.ask(BODY)) for _ in range(2)]
        async with asyncio.timeout(20):
            while len(there.asked) < 2:
                await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await soon(found.ask(BODY))


async def test_one_that_was_not_opened_says_so() -> None:
    found = Remote("x", "https://x", {}, secret="k", timeout_s=1, explain=by_status({}))
    with pytest.raises(BackendFailed, match="not started"):
        await found.ask(plain(0))

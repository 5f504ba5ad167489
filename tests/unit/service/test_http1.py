"""HTTP/1.1 between a socket and an ASGI application: real sockets, applications of a few lines."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from service.api import http1
from service.api.exchange import CLIENT
from service.api.http1 import Connection
from service.api.wire import Http1
from tests.unit.service.stand_ins import until

PATIENCE_S = 10.0


async def read_all(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def answer(send: Send, body: bytes, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what it was sent."""
    body = await read_all(receive)
    told = {name: scope[name] for name in ("method", "path", "http_version")}
    told |= {"query": scope["query_string"].decode(), "raw": scope["raw_path"].decode(), "body": body.decode("latin-1")}
    told["headers"] = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    await answer(send, json.dumps(told).encode())


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = b""
            if headers.get("transfer-encoding") == "chunked":
                while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            else:
                body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return int(lines[0].split()[1]), headers, body

    async def closed(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read() == b""


class Bench:
    """A listening server and its state as uvicorn keeps it."""

    def __init__(self, port: int, state: ServerState) -> None:
        self.port = port
        self.state = state

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def serving(app: ASGIApp, **times: float) -> AsyncIterator[Bench]:
    shared, state = Http1(**times), ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(shared, app, state), "127.0.0.1", 0)
    try:
        yield Bench(server.sockets[0].getsockname()[1], state)
    finally:
        for connection in list(state.connections):
            connection.shutdown()
        server.close()
        await until(lambda: not state.connections and not state.tasks, "all connections are closed, and nobody works for them")


def post(body: bytes, *headers: str, path: str = "/a") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_request_reaches_the_application_as_asgi_has_it() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(post(b"image", "X-Thing: Some Value", path="/v1/a%2Fb%20c?backend=cnn&top=1"))
        status, _, body = await client.reply()
        told = json.loads(body)
        assert status == 200
        assert told["method"] == "POST"
        assert told["path"] == "/v1/a/b c"
        assert told["raw"] == "/v1/a%2Fb%20c"
        assert told["query"] == "backend=cnn&top=1"
        assert told["body"] == "image"
        assert told["http_version"] == "1.1"
        assert ["x-thing", "Some Value"] in told["headers"]


async def test_a_connection_serves_one_request_after_the_other_and_keeps_their_order_when_they_come_at_once() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(post(b"0"))
        assert json.loads((await client.reply())[2])["body"] == "0"
        client.write(b"".join(post(str(number).encode()) for number in range(1, 50)))
        assert [json.loads((await client.reply())[2])["body"] for _ in range(49)] == [str(number) for number in range(1, 50)]


@pytest.mark.parametrize("pieces", [1, 7, 1000])
async def test_a_request_may_come_in_pieces_of_any_size(pieces: int) -> None:
    whole = post(b"x" * 5000)
    async with serving(echo) as bench, bench.connect() as client:
        for start in range(0, len(whole), max(1, len(whole) // pieces)):
            client.write(whole[start : start + max(1, len(whole) // pieces)])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert len(json.loads((await client.reply())[2])["body"]) == 5000


async def test_a_body_in_chunks_is_put_together() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert json.loads((await client.reply())[2])["body"] == "abcde"


async def test_a_body_of_megabytes_arrives_though_the_application_takes_its_time() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while (message := await receive())["more_body"]:
            size += len(message["body"])
            await asyncio.sleep(0)
        await answer(send, str(size + len(message["body"])).encode())

    async with serving(slow) as bench, bench.connect() as client:
        client.write(post(bytes(3_000_000)))
        assert (await client.reply())[2] == b"3000000"


async def test_head_and_body_of_a_small_reply_go_out_together() -> None:
    written: list[bytes] = []

    class Recording(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            write = self.transport.write

            def record(data: "bytes | bytearray | memoryview[int]") -> None:
                written.append(bytes(data))
                write(data)

            self.transport.write = record  # type: ignore[method-assign]

    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: Recording(Http1(), echo, state), "127.0.0.1", 0)
    async with server, Bench(server.sockets[0].getsockname()[1], state).connect() as client:
        client.write(post(b"a"))
        await client.reply()
        assert len(written) == 1
    await until(lambda: not state.connections, "it is closed")


async def test_a_stream_is_told_of_before_it_has_anything_to_say() -> None:
    more = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await more.wait()
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    async with serving(stream) as bench, bench.connect() as client:
        client.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        more.set()
        async with asyncio.timeout(PATIENCE_S):
            assert await client.reader.readuntil(b"0\r\n\r\n") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "open_"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", False),
    ],
)
async def test_a_connection_stays_open_unless_the_client_would_have_it_closed(request_: bytes, open_: bool) -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(request_)
        status, headers, _ = await client.reply()
        assert status == 200
        assert (headers.get("connection") != "close") is open_
        if open_:
            client.write(request_)
            assert (await client.reply())[0] == 200
        else:
            assert await client.closed()


async def test_a_connection_is_closed_after_so_many_requests_and_says_so_before() -> None:
    async with serving(echo, max_requests=3) as bench, bench.connect() as client:
        said = []
        for _ in range(3):
            client.write(post(b"x"))
            status, headers, _ = await client.reply()
            said.append((status, headers.get("connection")))
        assert said == [(200, None), (200, None), (200, "close")]
        assert await client.closed()


async def test_head_gets_the_headers_alone() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            whole = await client.reader.read()
        assert whole.endswith(b"\r\n\r\n")
        assert int(whole.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) > 0


async def test_who_asks_whether_to_go_on_is_told_so_when_the_body_is_wanted() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        async with asyncio.timeout(PATIENCE_S):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.write(b"ok")
        assert json.loads((await client.reply())[2])["body"] == "ok"


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await answer(send, b"no", status=413)


async def test_a_refused_body_is_read_to_its_end_and_the_connection_goes_on() -> None:
    async with serving(refuse) as bench, bench.connect() as client:
        for _ in range(2):
            client.write(post(bytes(2_000_000)))
            assert (await client.reply())[0] == 413


async def test_a_refused_body_without_end_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "MAX_REFUSED_BYTES", 100_000)
    async with serving(refuse) as bench, bench.connect() as client:
        client.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + bytes(1000))
        assert (await client.reply())[0] == 413
        client.write(bytes(200_000))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await client.reader.readexactly(1)


async def test_a_refused_body_that_does_not_come_ends_the_connection() -> None:
    async with serving(refuse, headers_s=0.05) as bench, bench.connect() as client:
        client.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.reply())[0] == 413
        assert await client.closed()


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"this is no HTTP\r\n\r\n", 400, "bad-http"),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, "bad-http"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", 400, "bad-http"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad-http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000, 431, "headers-too-large"),
    ],
)
async def test_what_is_no_request_is_a_problem_with_an_id_and_the_end(sent: bytes, status: int, code: str) -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(sent)
        found, headers, body = await client.reply()
        problem = json.loads(body)
        assert (found, problem["code"], headers["content-type"]) == (status, code, "application/problem+json")
        assert problem["request_id"] == headers["x-request-id"]
        assert await client.closed()


async def test_a_whole_request_is_answered_whatever_comes_after_it() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(post(b"whole") + b"\0this is no HTTP\r\n\r\n")
        status, headers, body = await client.reply()
        assert (status, json.loads(body)["body"], headers["connection"]) == (200, "whole", "close")
        assert await client.closed()


async def test_a_body_that_is_no_http_ends_the_connection() -> None:
    async with serving(echo) as bench, bench.connect() as client:
        client.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: bench.state.tasks, "it is under way")
        client.write(b"no length\r\n")
        assert await client.closed()


async def test_headers_that_do_not_arrive_are_told_so() -> None:
    async with serving(echo, headers_s=0.05) as bench, bench.connect() as client:
        client.write(b"GET / HTTP/1.1\r\nHost:")
        status, _, body = await client.reply()
        assert (status, json.loads(body)["code"]) == (408, "headers-too-slow")
        assert await client.closed()


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await idle.wait()
        await answer(send, b"late")

    idle = asyncio.Event()
    async with serving(slow, keep_alive_s=0.05) as bench, bench.connect() as busy, bench.connect() as client:
        busy.write(post(b""))
        assert await client.closed()
        idle.set()
        assert (await busy.reply())[2] == b"late"
        assert await busy.closed()


async def hang_up_while(told: Callable[[Scope, Receive], Awaitable[Any]]) -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read_all(receive)
        begun.set()
        await told(scope, receive)
        done.set()

    async with serving(app) as bench:
        async with bench.connect() as client:
            client.write(post(b"image"))
            async with asyncio.timeout(PATIENCE_S):
                await begun.wait()
        async with asyncio.timeout(PATIENCE_S):
            await done.wait()


async def test_a_hang_up_is_told_as_asgi_has_it() -> None:
    async def told(scope: Scope, receive: Receive) -> None:
        assert (await receive())["type"] == "http.disconnect"

    await hang_up_while(told)


async def test_a_hang_up_is_told_by_a_call() -> None:
    async def told(scope: Scope, receive: Receive) -> None:
        called = asyncio.Event()
        scope["extensions"][CLIENT].tell(called.set)
        await called.wait()
        late = asyncio.Event()
        scope["extensions"][CLIENT].tell(late.set)
        assert late.is_set(), "who asks later is told at once"

    await hang_up_while(told)


async def test_of_a_body_that_is_declined_nothing_is_held_and_the_rest_waits() -> None:
    """More than all buffers between the two hold is sent, and all of it is read once there is a reply."""
    held: list[int] = []
    answered = asyncio.Event()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        scope["extensions"][CLIENT].decline()
        held.append(scope["extensions"][CLIENT].buffered)
        await answered.wait()
        held.append(scope["extensions"][CLIENT].buffered)
        await answer(send, b"no", status=429)

    async with serving(app) as bench, bench.connect() as client:
        request = post(bytes(30_000_000))
        client.write(request[:1000])
        await until(lambda: bool(held), "the application was asked")
        client.write(request[1000:])
        drained = asyncio.ensure_future(client.writer.drain())
        for _ in range(3):  # whatever arrives meanwhile is seen
            async with bench.connect() as other:
                other.write(b"nonsense\r\n\r\n")
                assert (await other.reply())[0] == 400
        assert not drained.done()
        answered.set()
        assert (await client.reply())[::2] == (429, b"no")
        async with asyncio.timeout(PATIENCE_S):
            await drained
        assert held == [0, 0]
        client.write(post(b""))
        assert (await client.reply())[0] == 429


async def test_a_client_who_reads_nothing_holds_up_the_application_and_nobody_else() -> None:
    sent = 0

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while sent < 1000 and scope["path"] == "/endless":
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    async with serving(endless) as bench, bench.connect() as deaf, bench.connect() as client:
        deaf.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        before = -1
        while before != sent or not sent:
            before = sent
            client.write(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.reply())[0] == 200
        assert sent < 1000


async def test_an_application_that_fails_or_says_nothing_ends_the_connection() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fails":
            raise RuntimeError("no")
        if scope["path"] == "/breaks-a-line":
            await answer(send, b"", (b"x-evil", b"a\r\nset-cookie: b"))
        if scope["path"] == "/too-long":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            await send({"type": "http.response.body", "body": b"toolong"})

    async with serving(broken) as bench:
        for path in ("/fails", "/silent", "/breaks-a-line", "/too-long"):
            async with bench.connect() as client:
                client.write(post(b"", path=path))
                assert await client.closed(), path


async def test_a_stop_lets_the_request_under_way_end_and_closes_idle_connections() -> None:
    go_on = asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await answer(send, b"done")

    async with serving(waiting) as bench, bench.connect() as idle, bench.connect() as busy:
        busy.write(post(b""))
        await until(lambda: len(bench.state.tasks) == 1 and len(bench.state.connections) == 2, "one is busy")
        for connection in list(bench.state.connections):
            connection.shutdown()
        assert await idle.closed()
        go_on.set()
        _, headers, body = await busy.reply()
        assert (body, headers["connection"]) == (b"done", "close")
        assert await busy.closed()

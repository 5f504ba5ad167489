"""HTTP on the wire, as a server may send it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from service.backends.way_out import way_out
from service.backends.wire import Wire
from tests.unit.service.stand_ins import soon, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MAX = 1000


class There:
    """A server that answers each request with the next script, and notes on which connection it came."""

    def __init__(self, scripts: Sequence[bytes | None]) -> None:
        """None: it hangs up instead."""
        self.scripts = list(scripts)
        self.asked: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while head := await _head(reader):
            length = next(int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
            self.asked.append(head + await reader.readexactly(length))
            script = self.scripts.pop(0)
            if script is not None:
                writer.write(script)
            if script is None or b"Connection: close" in script:
                break
        writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@asynccontextmanager
async def answering(*scripts: bytes | None) -> AsyncIterator[tuple[There, Wire]]:
    there = There(scripts)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    wire = to(there.port)
    yield there, wire
    await wire.close()
    for one in there.connections:
        one.close()
    server.close()


def to(port: int) -> Wire:
    return Wire(httpx.URL(f"http://127.0.0.1:{port}/a%2Fb?c=d"), httpx.Headers({"X-Key": "k"}), MAX)


async def ask(wire: Wire) -> tuple[int, bytes]:
    reply = await soon(wire.post(b"image"))
    return reply.status, reply.body


async def test_the_request_is_sent_as_it_is_and_a_connection_is_used_again() -> None:
    async with answering(OK, OK, OK) as (there, wire):
        assert [await ask(wire) for _ in range(3)] == [(200, b"ok")] * 3
        assert len(there.connections) == 1
        assert there.asked[0].startswith(b"POST /a%2Fb?c=d HTTP/1.1\r\n")
        assert f"Host: 127.0.0.1:{there.port}\r\n".encode() in there.asked[0]
        assert b"\r\nX-Key: k\r\n" in there.asked[0]
        assert there.asked[0].endswith(b"\r\n\r\nimage")


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", (200, b"abc")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"ok")),
        (b"HTTP/1.1 502 Bad\r\nConnection: close\r\n\r\nuntil the end", (502, b"until the end")),
        (b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", (429, b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000, (200, b"x" * 3000)),
    ],
    ids=["chunked", "continue", "endless", "empty", "large"],
)
async def test_every_way_to_end_a_reply_is_understood(script: bytes, found: tuple[int, bytes]) -> None:
    async with answering(script, OK) as (_there, wire):
        assert await ask(wire) == found
        assert await ask(wire) == (200, b"ok")


async def test_a_reply_without_end_is_cut() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000, OK) as (there, wire):
        status, body = await ask(wire)
        assert (status, MAX < len(body) <= 200_000) == (200, True)
        assert await ask(wire) == (200, b"ok")
        assert len(there.connections) == 2, "what still comes there is nobody's reply"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (None, httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf", httpx.ReadError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx.RemoteProtocolError),
    ],
    ids=["nothing", "half", "no HTTP"],
)
async def test_what_breaks_is_told_as_httpx_does_and_the_next_goes_well(script: bytes | None, error: type[Exception]) -> None:
    async with answering(script, OK) as (_there, wire):
        with pytest.raises(error):
            await ask(wire)
        assert await ask(wire) == (200, b"ok")


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with answering(OK, OK) as (there, wire):
        await ask(wire)
        there.connections[0].close()
        await until(lambda: not wire._idle[0].open, "the hang-up has arrived")
        assert await ask(wire) == (200, b"ok")
        assert len(there.connections) == 2


async def test_one_that_is_cancelled_hangs_up() -> None:
    async with answering(b"", OK) as (there, wire):
        task = asyncio.ensure_future(wire.post(b"x"))
        await until(lambda: bool(there.asked), "it was asked")
        task.cancel()
        await asyncio.wait([task])
        await until(there.connections[0].is_closing, "it hung up")
        assert await ask(wire) == (200, b"ok")


async def test_nobody_there_is_a_connect_error() -> None:
    with pytest.raises(httpx.ConnectError):
        await ask(to(1))


@pytest.mark.parametrize(
    ("address", "direct"),
    [("https://far.example/x", False), ("https://near.example/x", True), ("http://127.0.0.1:80/", True), ("http://[::1]/", True)],
)
def test_a_proxy_of_the_environment_is_taken_where_it_has_a_way(
    monkeypatch: pytest.MonkeyPatch, address: str, direct: bool
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "near.example")
    assert isinstance(way_out(httpx.URL(address), httpx.Headers(), MAX), Wire) == direct

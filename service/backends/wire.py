"""POST over HTTP/1.1 to one address, on asyncio's own protocols and llhttp, with a pool of connections.

httpx (anyio, h11) takes more than a millisecond of processor time for an image and its answer; this, a tenth. It knows no
proxies: see `way_out.py`. Its errors are httpx's.
"""

import asyncio
import ssl
from typing import NamedTuple, cast

import httptools
import httpx

CONNECT_S = 5.0
KEEP_S = 5.0
"""How long an idle connection is trusted: somebody on the way may have forgotten it."""


class Reply(NamedTuple):
    """What came back, as it came: nothing is decompressed, since nothing compressed was asked for."""

    status: int
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> httpx.Headers:
        """By name, in any case of letters."""
        return httpx.Headers(self.raw_headers)


class Wire:
    """As many connections as there are requests at the same time; each is used again while it is fresh."""

    def __init__(self, url: httpx.URL, headers: httpx.Headers, max_reply_bytes: int) -> None:
        """Of a reply that is longer, at least one byte more is handed on, and the connection is closed."""
        self._url = url
        self._max_reply_bytes = max_reply_bytes
        self._idle: list[_Connection] = []
        self._ssl: ssl.SSLContext | None = None
        lines = [b"POST %b HTTP/1.1" % url.raw_path, b"Host: %b" % url.netloc]
        self._head = b"\r\n".join([*lines, *(b"%b: %b" % header for header in headers.raw), b"Content-Length: "])

    async def post(self, body: bytes) -> Reply:
        """Send a body, and read the whole reply. Raises `httpx.TransportError`."""
        loop = asyncio.get_running_loop()
        connection = None
        while self._idle and connection is None:
            kept = self._idle.pop()  # the one that was used last
            if kept.open and loop.time() - kept.since < KEEP_S:
                connection = kept
            else:
                kept.close()
        connection = connection or await self._connect()
        try:
            reply = await connection.exchange(b"%b%d\r\n\r\n%b" % (self._head, len(body), body), self._max_reply_bytes)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            connection.since = loop.time()
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    async def close(self) -> None:
        """Close what is idle. Nothing is under way."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> "_Connection":
        url = self._url
        secure = url.scheme == "https"
        if secure and self._ssl is None:
            self._ssl = httpx.create_ssl_context()
        port = url.port or (443 if secure else 80)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, made = await asyncio.get_running_loop().create_connection(
                    _Connection, url.host, port, ssl=self._ssl if secure else None
                )
        except TimeoutError as exc:
            raise httpx.ConnectTimeout(f"no connection within {CONNECT_S:g} s") from exc
        except (OSError, ssl.CertificateError) as exc:
            raise httpx.ConnectError(str(exc)) from exc
        return made


class _Connection(asyncio.Protocol):
    """One request at a time. The methods `on_*` are llhttp's."""

    def __init__(self) -> None:
        self.since = 0.0
        self.reusable = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reply: asyncio.Future[Reply] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._max = 0
        self._headed = False

    @property
    def open(self) -> bool:
        """Whether the other side has not hung up."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, data: bytes, max_reply_bytes: int) -> Reply:
        """Send, and wait for the reply."""
        if self._transport is None or self._transport.is_closing():
            raise httpx.ReadError("the connection was closed")
        self._reply = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._max = max_reply_bytes
        self._size = 0
        self._headed = self.reusable = False
        self._body = []
        self._transport.write(data)
        return await self._reply

    def close(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._reply is None or self._reply.done():
            self.close()  # nobody has asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(httpx.RemoteProtocolError(f"this is no HTTP: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        endless = self._headed and not {b"content-length", b"transfer-encoding"} & {name.lower() for name, _ in self._headers}
        if endless and exc is None:
            self._finish()  # a reply whose end is the end of the connection
        self._fail(httpx.ReadError("the connection was closed before the reply was complete"))

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._headed = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._body.append(body)
        if self._size > self._max:
            self._finish()

    def on_message_complete(self) -> None:
        if self._headed:  # else it was a 1xx, and the reply is still to come
            self.reusable = self._size <= self._max and self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        if self._reply is not None and not self._reply.done():
            status = self._parser.get_status_code()
            self._reply.set_result(Reply(status, self._headers, b"".join(self._body)))

    def _fail(self, error: httpx.TransportError) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

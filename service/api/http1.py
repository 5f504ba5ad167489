"""HTTP/1.1 for ASGI: what stands between a socket of uvicorn's and the application. llhttp parses (httptools).

uvicorn's own protocol costs a third of the event loop's time here, and bounds neither slow nor endless headers
(docs/decisions/http.md). uvicorn still opens the sockets, runs the lifespan and stops the whole.
"""

import asyncio
import logging
from collections import deque
from typing import Any, cast

import httptools
from starlette.types import ASGIApp, Scope

from service.api.exchange import Exchange
from service.api.wire import Http1, Listener, refusal, target
from service.errors import BadHttp, HeadersTooLarge, HeadersTooSlow, RequestError

log = logging.getLogger("parallax.http")

MAX_HEADER_BYTES = 65_536
MAX_REFUSED_BYTES = 256_000_000
"""Of a refused body that are read and thrown away, so that a client which sends first and listens afterwards gets the answer."""

ASGI = {"version": "3.0", "spec_version": "2.3"}


class Connection(asyncio.Protocol):
    """Requests of one client, one after the other; those sent ahead of their turn wait for it."""

    transport: asyncio.Transport

    def __init__(self, shared: Http1, app: ASGIApp, server: Listener) -> None:
        self._shared = shared
        self._app = app
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._addresses: tuple[Any, Any] = (None, None)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._refused_bytes = 0
        self._requests = 0
        self._in_headers = False
        self._alarmed = False
        self._arriving: Exchange | None = None
        """Whose body the parser reads."""
        self._current: Exchange | None = None
        """Who is being answered."""
        self._ahead: deque[Exchange] = deque()
        self._paused = False
        self._deaf = False
        """What comes is no HTTP any more."""
        self.closing = False
        """Nothing can be sent any more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # what asyncio promises for a stream, and uvloop gives unnamed
        self._addresses = (transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        self._server.connections.add(self)
        self._shared.idle.set(self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._shared.idle.cancel(self.close)
        self._shared.late.cancel(self._too_late)
        self.closing = True
        self._ahead.clear()
        if self._current is not None:
            self._current.disconnect()

    def data_received(self, data: bytes) -> None:
        if self.closing or self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nothing here can be upgraded to: it is answered as if it had not asked, and the connection closed
        except httptools.HttpParserError as exc:
            if self._current is None and self._ahead and self._ahead[0] is not self._arriving:
                self._start(self._ahead.popleft())
            self._refuse(BadHttp(f"This is not HTTP/1.1: {exc}"))
            return
        if self._in_headers:
            self._bound_headers(len(data))
        if self._current is None and self._ahead:
            self._start(self._ahead.popleft())
        if self._current is not None and (len(self._ahead) or self._current.buffered > MAX_HEADER_BYTES):
            self.pause_reading()

    def pause_writing(self) -> None:
        if self._current is not None:
            self._current.pause()

    def resume_writing(self) -> None:
        if self._current is not None:
            self._current.go_on()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._in_headers = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._header_bytes = 0
        if self._alarmed:
            self._alarmed = False
            self._shared.late.cancel(self._too_late)
        path, raw_path, query = target(self._url)
        version = self._parser.get_http_version()
        keep_alive = version == "1.1" and self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._requests += 1
        scope: Scope = {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._addresses[0],
            "server": self._addresses[1],
            "state": {},
        }
        self._arriving = Exchange(self, scope, keep_alive=keep_alive and self._requests < self._shared.max_requests)
        self._ahead.append(self._arriving)

    def on_body(self, chunk: bytes) -> None:
        exchange = self._arriving
        if exchange is None:
            return
        if not exchange.complete:
            exchange.feed(chunk)
            return
        self._refused_bytes += len(chunk)
        if self._refused_bytes > MAX_REFUSED_BYTES:
            self.close()

    def on_message_complete(self) -> None:
        exchange, self._arriving = self._arriving, None
        if exchange is not None:
            exchange.feed_end()
            if exchange.complete and self._current is None:
                self._rest()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Date, renewed by uvicorn every second."""
        return self._server.default_headers

    def pause_reading(self) -> None:
        """Let the client wait until what it sent is taken."""
        if not self._paused and not self.closing:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more."""
        if self._paused and not self.closing:
            self._paused = False
            self.transport.resume_reading()

    def ended(self, exchange: Exchange) -> None:
        """The application is done with a request."""
        self._server.total_requests += 1
        if exchange.task is not None:
            self._server.tasks.discard(exchange.task)
            exchange.task = None
        self._current = None
        if self.closing:
            return
        if not exchange.complete or not exchange.keep_alive:
            self.close()
            return
        self.resume_reading()
        if self._ahead:
            self._start(self._ahead.popleft())
        elif self._arriving is None:
            self._rest()
        else:
            self._refused_bytes = 0  # the rest of a body that nobody wants
            self._be_late()

    def shutdown(self) -> None:
        """The server stops: end after the request under way."""
        if self._current is None:
            self.close()
        else:
            self._current.keep_alive = False

    def close(self) -> None:
        """Send what was written, then close."""
        self.closing = True
        self.transport.close()

    def _start(self, exchange: Exchange) -> None:
        self._shared.idle.cancel(self.close)
        self._current = exchange
        task = asyncio.get_running_loop().create_task(exchange.run(self._app))
        exchange.task = task
        self._server.tasks.add(task)

    def _rest(self) -> None:
        if self._alarmed:
            self._alarmed = False
            self._shared.late.cancel(self._too_late)
        self._shared.idle.set(self.close)

    def _be_late(self) -> None:
        if not self._alarmed:
            self._alarmed = True
            self._shared.late.set(self._too_late)

    def _bound_headers(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(HeadersTooLarge(f"The request's headers have more than {MAX_HEADER_BYTES:,} bytes."))
        else:
            self._be_late()

    def _too_late(self) -> None:
        if self._in_headers:
            self._refuse(HeadersTooSlow("The request's headers did not arrive in time."))
        else:
            self.close()

    def _refuse(self, error: RequestError) -> None:
        """Answer what can't be understood, and close; a whole request that came before it has its own reply first."""
        self._deaf = True
        if self._current is not None and self._current is not self._arriving:
            self._current.keep_alive = False
            return
        if self._current is None and not self.closing:
            request_id = self._shared.next_id()
            log.info("request refused", extra={"reason": str(error), "request_id": request_id})
            self.transport.write(refusal(error, request_id))
        self.close()

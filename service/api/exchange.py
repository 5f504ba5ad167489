"""One HTTP request with its reply, as ASGI sees them: `scope`, `receive`, `send`."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from starlette.types import ASGIApp, Message, Scope

if TYPE_CHECKING:
    from service.api.http1 import Connection

log = logging.getLogger("parallax.http")

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CLIENT = "parallax.client"
"""Key of an ASGI extension (`scope["extensions"]`): a `Client`."""

BODILESS = frozenset({204, 304})
JOINED_BYTES = 65_536
"""Up to this size head and body go out in one write; copying more would cost more than the second write."""

BUFFERED_BYTES = 65_536
"""Of a body that the application has not asked for; then the client waits."""


class Client(Protocol):
    """What ASGI has no message for, or a dear one."""

    gone: bool
    """It hung up."""

    def decline(self) -> None:
        """Throw away what is here of the body, which nobody will ask for; let the rest wait until there is a reply."""
        ...

    def tell(self, callback: Callable[[], object] | None) -> None:
        """Call back when the client hangs up, at once if it has; None: no more. ASGI's message costs a task that waits for it."""
        ...


class Exchange:
    """From the headers of a request to the end of its reply."""

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_done",
        "_expects_continue",
        "_head",
        "_left",
        "_method",
        "_on_gone",
        "_scope",
        "_started",
        "_told",
        "_waiter",
        "_writable",
        "buffered",
        "complete",
        "gone",
        "keep_alive",
        "task",
    )

    def __init__(self, connection: "Connection", scope: Scope, *, keep_alive: bool) -> None:
        self._connection = connection
        self._scope: Scope | None = scope
        self._method = scope["method"]
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
        self._body: list[bytes] = []
        self.buffered = 0
        """Bytes of the body that were not taken yet."""
        self._done = False
        """The body is here to its end."""
        self._told = False
        """The application knows that."""
        self._expects_continue = any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self.gone = False
        """The client hung up."""
        self._on_gone: Callable[[], object] | None = None
        scope["extensions"] = {CLIENT: self}
        self._started = False
        self._head: bytes = b""
        """Written with the body."""
        self._chunked = False
        self._left = 0
        """Bytes of the reply's body still to come."""
        self.complete = False
        """The reply is written to its end."""

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer."""
        scope, self._scope = self._scope, None  # each knows the other: kept, they would wait for the garbage collector
        try:
            await app(scope or {}, self.receive, self.send)
        except Exception:
            log.exception("the application failed")
        finally:
            self._connection.ended(self)

    async def receive(self) -> Message:
        """The next piece of the body; after its end, the client's hang-up."""
        while not self._body and not (self._done and not self._told) and not self.gone and not self.complete:
            if self._expects_continue and not self._done:
                self._expects_continue = False
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._connection.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        body, self._body, self.buffered = self._body, [], 0
        self._told = self._done
        return {"type": "http.request", "body": body[0] if len(body) == 1 else b"".join(body), "more_body": not self._done}

    async def send(self, message: Message) -> None:
        """Write the reply. Raises `RuntimeError` if the application does not keep to ASGI or to its own Content-Length."""
        if self._writable is not None:
            await self._writable
        if self.gone or self._connection.closing:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self._started:
            self._begin(message)
        elif kind == "http.response.body" and self._started and not self.complete:
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} was not due")

    def feed(self, chunk: bytes) -> None:
        """A piece of the body is here."""
        self._body.append(chunk)
        self.buffered += len(chunk)
        self._wake()

    def feed_end(self) -> None:
        """The body is complete."""
        self._done = True
        self._wake()

    def disconnect(self) -> None:
        """The client hung up."""
        self.gone = True
        self._wake()
        self.go_on()
        if self._on_gone is not None:
            self._on_gone()

    def decline(self) -> None:
        self._body, self.buffered = [], 0
        if self._done:
            self._connection.resume_reading()  # a hang-up is to be seen
        else:
            self._connection.pause_reading()

    def tell(self, callback: Callable[[], object] | None) -> None:
        self._on_gone = callback
        if self.gone and callback is not None:
            callback()

    def pause(self) -> None:
        """Let the application wait: the client does not read what was written."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def go_on(self) -> None:
        """Let it write again."""
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _begin(self, message: Message) -> None:
        self._started = True
        status = message["status"]
        parts = [STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
        length = None
        for name, value in (*self._connection.default_headers, *message.get("headers", ())):
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                continue
            parts.append(name + b": " + value + b"\r\n")
        lines = len(parts)
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        if self._method == "HEAD" or status in BODILESS:
            self._left = 0
        elif length is None:
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
            lines += 1
        else:
            self._left = length
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != lines + 1 or head.count(b"\r") != lines + 1:
            raise RuntimeError("a header holds a line break")  # or a caller could write headers of its own
        if self._chunked:
            self._connection.transport.write(head)  # who streams may have nothing to say for a while
        else:
            self._head = head

    def _continue(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, b""
        if self._chunked:
            parts = [f"{len(body):x}\r\n".encode(), body, b"\r\n"] if body else []
            if not more:
                parts.append(b"0\r\n\r\n")
            body = b"".join(parts)
        elif self._method == "HEAD":
            body = b""
        elif len(body) > self._left or (not more and len(body) < self._left):
            raise RuntimeError(f"the body has not the {self._left} bytes that Content-Length states")
        else:
            self._left -= len(body)
        if not more:
            self.complete = True
            self._wake()
        if head and len(body) > JOINED_BYTES:
            self._connection.transport.write(head)
            self._connection.transport.write(body)
        elif head or body:
            self._connection.transport.write(head + body)

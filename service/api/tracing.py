"""A server span for each request, around the edge: a service that is not traced has no such layer."""

import time
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.edge import OPEN_PATHS, OPEN_PREFIXES
from service.tracing import HERE, Facts, Span

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
QUIET_PATHS = OPEN_PATHS | {"/metrics"}
"""Probes, scrapes and static files: nobody looks for their traces."""

CONTEXT = {b"traceparent": "traceparent", b"tracestate": "tracestate"}


class Begin(Protocol):
    """Begins a span: its name, the trace context in the request's headers, its attributes."""

    def __call__(self, name: str, headers: dict[str, str], facts: Facts, /) -> Span: ...


class Traces:
    """ASGI middleware, the outermost. Names follow OpenTelemetry's conventions for HTTP servers."""

    def __init__(self, app: ASGIApp, begin: Begin) -> None:
        self._app = app
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request within a span."""
        if scope["type"] != "http" or scope["path"] in QUIET_PATHS or scope["path"].startswith(OPEN_PREFIXES):
            await self._app(scope, receive, send)
            return
        context = {CONTEXT[name]: value.decode("latin-1") for name, value in scope["headers"] if name in CONTEXT}
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        # No query and no other header: they may hold what a trace should not.
        asked: Facts = {"http.request.method": method, "url.scheme": scope["scheme"], "url.path": scope["path"]}
        span = self._begin("HTTP" if method == "_OTHER" else method, context, asked)
        token = HERE.set(span)
        try:
            if span.recording:
                await self._record(span, method, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            HERE.reset(token)
            span.end()

    async def _record(self, span: Span, method: str, scope: Scope, receive: Receive, send: Send) -> None:
        upload = _Upload(receive)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                span.note({"http.response.status_code": status, "parallax.request_id": _request_id(message)})
            await send(message)

        try:
            await self._app(scope, upload, answer)
        except BaseException as exc:
            span.failed(type(exc).__name__)  # the reply had begun, and broke off
            raise
        finally:
            upload.tell(span)
            found = scope.get("state", {}).get("call")
            if found is not None and found.caller:
                span.note({"parallax.caller": found.caller})
            if "route" in scope:
                span.rename(f"{method} {scope['route'].path}")
                span.note({"http.route": scope["route"].path})
            if not status:
                span.note({"error.type": "ClientDisconnect"})
            elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.failed(str(status))


class _Upload:
    """ASGI's `receive`, which notes when the body came."""

    __slots__ = ("_began", "_ended", "_receive", "_size")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._began = 0.0
        self._ended = 0.0
        self._size = 0

    async def __call__(self) -> Message:
        if not self._began:
            self._began = time.perf_counter()
        message = await self._receive()
        if message["type"] == "http.request" and not self._ended:
            self._size += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._ended = time.perf_counter()
        return message

    def tell(self, span: Span) -> None:
        """Of the body, if anybody wanted it. One that never ended did so with the request."""
        if self._began:
            span.past("upload", self._began, self._ended or time.perf_counter(), {"http.request.body.size": self._size})


def _request_id(message: Message) -> str:
    return next((value.decode("latin-1") for name, value in message["headers"] if name == b"x-request-id"), "")

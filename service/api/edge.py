"""What every request passes, outermost: an id, the guard, a log line, a count, and a problem body for whatever is raised."""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from http import HTTPStatus

from fastapi.exceptions import RequestValidationError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import ParallaxError
from service.api.auth import Guard
from service.api.dialects import Dialect
from service.api.exchange import CLIENT
from service.api.ids import RequestIds
from service.api.problems import problem_response, without_frames
from service.api.requests import Call
from service.api.tarpit import Tarpit
from service.api.thin import ThinRoute
from service.errors import Closing
from service.telemetry import Metrics

log = logging.getLogger("parallax.access")

OPEN_PATHS = frozenset({"/", "/docs", "/livez", "/readyz"})
OPEN_PREFIXES = ("/docs/", "/web/")
"""Static files of the pages. What the pages ask for needs a key."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
IN_A_HURRY = frozenset({b"expect", b"x-deadline-ms"})
"""Headers of who waits for leave to send the body, or who has little time: a refusal is told at once."""
NO_SNIFFING = (b"x-content-type-options", b"nosniff")
CLIENT_GONE = 499
"""Nginx's code for a caller who left: seen in logs and metrics only."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, guard: Guard, metrics: Metrics, direct: Mapping[str, ThinRoute], dialects: Mapping[str, Dialect]
    ) -> None:
        """`app` is the application inside.

        `direct`: paths that need no router, nor anything else on the way to one. `dialects`: by the beginning of their paths.
        """
        self._app = app
        self._direct = direct
        self._own = Dialect(guard.check, problem_response)
        self._dialects = list(dialects.items())
        self._metrics = metrics
        self._next_id = RequestIds()
        self._tarpit = Tarpit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        request_id = given.decode() if given is not None and REQUEST_ID.fullmatch(given) else self._next_id()
        own_headers = ((b"x-request-id", request_id.encode()), NO_SNIFFING)
        started = time.perf_counter()
        status = 0
        held = 0.0

        async def answer(message: Message) -> None:
            nonlocal status, held
            if message["type"] == "http.response.start":
                if message["status"] == HTTPStatus.TOO_MANY_REQUESTS and headers.keys().isdisjoint(IN_A_HURRY):
                    refused = time.perf_counter()
                    try:
                        await self._tarpit.hold(caller, scope.get("extensions", {}).get(CLIENT))
                    finally:
                        held = time.perf_counter() - refused
                status = message["status"]
                message["headers"] = [*message["headers"], *own_headers]
            await send(message)

        caller = ""
        dialect = self._dialect(scope["path"])
        failure: Exception | None = None
        self._metrics.enter()
        try:
            try:
                caller = _caller(scope, dialect, headers)
                scope.setdefault("state", {})["call"] = Call(request_id, caller, headers, dialect.respond)
                route = self._direct.get(scope["path"])
                if route is None or scope["method"] != "POST":
                    await self._app(scope, receive, answer)
                else:
                    scope["route"] = route
                    await route.call(scope, receive, answer)
            except (Exception, asyncio.CancelledError) as exc:
                if status or isinstance(exc, ClientDisconnect):
                    raise  # the reply has begun, or nobody is there: all that is left is to break the connection
                failure = without_frames(_tellable(exc, request_id))
            if failure is not None:
                await dialect.respond(failure, request_id)(scope, receive, answer)
        except ClientDisconnect:
            status = CLIENT_GONE
        finally:
            self._tell(scope, request_id, status or CLIENT_GONE, caller, time.perf_counter() - started - held)

    def _dialect(self, path: str) -> Dialect:
        for prefix, dialect in self._dialects:
            if path.startswith(prefix):
                return dialect
        return self._own

    def _tell(self, scope: Scope, request_id: str, status: int, caller: str, seconds: float) -> None:
        route = scope["route"].path if "route" in scope else "other"
        self._metrics.leave(route, status, seconds)
        level = _level(status)
        if log.isEnabledFor(level):
            fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 2)}
            log.log(level, "request", extra=fields | {"request_id": request_id, "caller": caller})


def _level(status: int) -> int:
    """What is counted by the thousand is not logged one by one: successes, and refusals of too many requests."""
    if status < 400 or status == HTTPStatus.TOO_MANY_REQUESTS:
        return logging.DEBUG
    return logging.ERROR if status >= 500 and status not in (501, 503, 504) else logging.INFO


def _caller(scope: Scope, dialect: Dialect, headers: Mapping[bytes, bytes]) -> str:
    """Whose key it is; without keys, callers are told apart by their address. Raises what is wrong with the key."""
    if scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_PREFIXES):
        return ""
    return dialect.check(headers) or _address(scope)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _tellable(exc: BaseException, request_id: str) -> Exception:
    """What a caller is told of whatever was raised."""
    if isinstance(exc, asyncio.CancelledError):  # the grace time of a stop is over
        return Closing("The service stopped before this request was done. Send it again.")
    if isinstance(exc, ParallaxError | RequestValidationError):
        return exc
    log.error("unforeseen", exc_info=exc, extra={"request_id": request_id})
    return RuntimeError()

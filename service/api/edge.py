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
from service.api.exchange import CLIENT, Client
from service.api.ids import RequestIds
from service.api.patience import Patience
from service.api.problems import problem_response
from service.api.requests import Call
from service.api.thin import ThinRoute
from service.errors import Closing, Overloaded
from service.telemetry import Metrics

log = logging.getLogger("parallax.access")

OPEN_PATHS = frozenset({"/", "/docs", "/livez", "/readyz"})
OPEN_PREFIXES = ("/docs/", "/web/")
"""Static files of the pages. What the pages ask for needs a key."""

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
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
        self._patience = Patience()

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

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *own_headers]
            await send(message)

        caller = ""
        path = scope["path"]
        dialect = self._dialect(path)
        self._metrics.enter()
        try:
            if path not in OPEN_PATHS and not path.startswith(OPEN_PREFIXES):
                caller = dialect.check(headers) or _address(scope)
            scope.setdefault("state", {})["call"] = Call(request_id, caller, headers, dialect.respond)
            route = self._direct.get(path)
            if route is None or scope["method"] != "POST":
                await self._app(scope, receive, answer)
            else:
                scope["route"] = route
                await route.call(scope, receive, answer)
        except ClientDisconnect:
            status = CLIENT_GONE
        except (Exception, asyncio.CancelledError) as exc:
            if status:
                raise  # the reply has begun: all that is left is to break the connection
            if isinstance(exc, Overloaded):
                await self._wait(scope, caller)
            await dialect.respond(_tellable(exc, request_id), request_id)(scope, receive, answer)
        finally:
            self._tell(scope, request_id, status or CLIENT_GONE, caller, time.perf_counter() - started)

    async def _wait(self, scope: Scope, caller: str) -> None:
        """Tell who is refused time and again a while later."""
        turn = self._patience.refused(caller)
        if turn is None:
            return
        client: Client | None = scope.get("extensions", {}).get(CLIENT)
        if client is not None:
            client.decline()  # who waits holds no image
        await turn

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


def _address(scope: Scope) -> str:
    """Of the client: without keys, callers are told apart by it."""
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

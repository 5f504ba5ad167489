"""What every request passes, outermost: an id, the guard, a log line, a count, and a problem body for whatever is raised."""

import asyncio
import logging
import re
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from models.errors import ParallaxError
from service.api.auth import Guard
from service.api.problems import problem_response
from service.errors import Closing
from service.telemetry import Metrics

log = logging.getLogger("parallax.access")

OPEN_PATHS = frozenset({"/", "/docs", "/livez", "/readyz"})
OPEN_PREFIXES = ("/docs/",)
"""Static files of the pages. What the pages ask for needs a key."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_GONE = 499
"""Nginx's code for a caller who left: seen in logs and metrics only."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics) -> None:
        """`app` is the application inside."""
        self._app = app
        self._guard = guard
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(ULID())
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out["X-Request-Id"] = request_id
                out["X-Content-Type-Options"] = "nosniff"
            await send(message)

        caller = ""
        self._metrics.in_progress.inc()
        try:
            if scope["path"] not in OPEN_PATHS and not scope["path"].startswith(OPEN_PREFIXES):
                caller = self._guard.check(headers)
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            status = CLIENT_GONE
        except (Exception, asyncio.CancelledError) as exc:
            if status:
                raise  # the reply has begun: all that is left is to break the connection
            await problem_response(_tellable(exc, request_id), request_id)(scope, receive, answer)
        finally:
            self._metrics.in_progress.dec()
            self._tell(scope, request_id, status or CLIENT_GONE, caller, time.perf_counter() - started)

    def _tell(self, scope: Scope, request_id: str, status: int, caller: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        level = logging.DEBUG if status < 400 else logging.ERROR if status >= 500 and status not in (503, 504) else logging.INFO
        if log.isEnabledFor(level):
            fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 2)}
            log.log(level, "request", extra=fields | {"request_id": request_id, "caller": caller})


def _tellable(exc: BaseException, request_id: str) -> Exception:
    """What a caller is told of whatever was raised."""
    if isinstance(exc, asyncio.CancelledError):  # the grace time of a stop is over
        return Closing("The service stopped before this request was done. Send it again.")
    if isinstance(exc, ParallaxError):
        return exc
    log.error("unforeseen", exc_info=exc, extra={"request_id": request_id})
    return RuntimeError()

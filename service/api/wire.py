"""What HTTP connections share: their clocks and ids, the server they report to, requests' targets, and refusals as bytes."""

import asyncio
import math
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from service.alarms import Alarms
from service.api.ids import RequestIds
from service.api.problems import problem_response
from service.errors import RequestError

KEEP_ALIVE_S = 75.0
"""How long a connection may be idle: longer than at a load balancer, which must be the one that closes first."""

HEADERS_S = 20.0
"""How long headers may take to arrive, and what is left of a body that was refused."""


REQUESTS_OF_SEVERAL = 100
"""After so many requests a connection is closed, where several workers serve: the kernel spreads connections only when they are
made, so those that left a worker that died would stay with the others for as long as they are busy. Apache's MaxKeepAliveRequests
has the same default, and nginx' keepalive_requests once had."""


class Http1:
    """What all connections share."""

    def __init__(
        self, *, keep_alive_s: float = KEEP_ALIVE_S, headers_s: float = HEADERS_S, max_requests: float = math.inf
    ) -> None:
        """Seconds that a connection may be idle, and that headers or the rest of a refused body may take; requests over one."""
        self.max_requests = max_requests
        self.idle = Alarms(keep_alive_s)
        self.late = Alarms(headers_s)
        self.next_id = RequestIds()


class Listener(Protocol):
    """What uvicorn's `ServerState` holds: it is asked to shut connections down, and waited for until all have ended."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    total_requests: int
    default_headers: list[tuple[bytes, bytes]]


def refusal(error: RequestError, request_id: str) -> bytes:
    """The whole reply to what could not become a request. The connection is closed after it."""
    response = problem_response(error, request_id)
    lines = [f"HTTP/1.1 {response.status_code} \r\nx-request-id: {request_id}\r\nconnection: close\r\n".encode()]
    lines += [name + b": " + value + b"\r\n" for name, value in response.raw_headers if name != b"connection"]
    return b"".join(lines) + b"\r\n" + bytes(response.body)


@lru_cache(maxsize=256)
def target(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, the same as it was sent, and query of a request's target."""
    parsed = httptools.parse_url(url)
    raw = parsed.path or b"/"
    path = raw.decode("ascii")
    return unquote(path) if "%" in path else path, raw, parsed.query or b""

"""What a test may have the stand-in do, beyond answering: take its time, fail, throttle, break off; and what it was asked."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


@dataclass
class Fault:
    """What is answered, so many times, to requests whose path holds some words."""

    path: str
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int = 1
    method: str = ""
    """Empty: any."""


@dataclass
class Script:
    """One test's play."""

    outcome: str = "Completed"
    """How trainings end: or Failed."""
    looks: int = 2
    """How often a training or an export is seen under way before it ends."""
    faults: list[Fault] = field(default_factory=list)
    rate: float | None = None
    """Calls in any second; more are refused as the gateway refuses them."""
    answered_uploads: int | None = None
    """Uploads after these are kept, and never answered."""
    status_of: Callable[[bytes], str | None] = lambda _data: None
    """Of an image that is sent: what is answered for it alone."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each, in their order."""
    throttled: int = 0
    received: dict[str, int] = field(default_factory=dict)
    """How often each image was sent, by its digest."""
    keys_at_storage: int = 0
    """Requests to the storage account that brought a key along."""
    _recent: deque[float] = field(default_factory=deque)

    def count(self, words: str) -> int:
        """How many requests had these words in their path."""
        return sum(words in path for _, path in self.requests)

    def interferes(self, request: Request) -> Response | None:
        """Note a request; what stands in its way, if anything does."""
        self.requests.append((request.method, request.url.path))
        if self.rate is not None:
            now = time.monotonic()
            while self._recent and now - self._recent[0] >= 1:
                self._recent.popleft()
            if len(self._recent) >= self.rate:
                self.throttled += 1
                return gateway(429, "Requests to this Operation have exceeded rate limit. Please retry after 1 second.")
            self._recent.append(now)
        for fault in self.faults:
            if fault.times > 0 and fault.path in request.url.path and fault.method in ("", request.method):
                fault.times -= 1
                return Response(fault.body, fault.status, dict(fault.headers))
        return None


def gateway(status: int, message: str) -> Response:
    """As the gateway before the service words a refusal."""
    return JSONResponse({"error": {"code": str(status), "message": message}}, status)


def refusal(status: int, code: str, message: str = "") -> Response:
    """As the service itself words it."""
    return JSONResponse({"code": code, "message": message or code}, status)


async def until_gone(request: Request) -> Response:
    """Answer nothing until the caller hangs up."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    return Response()

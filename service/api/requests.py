"""What the routes share: the services behind them, the deadline, and callers who leave."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from service.api.upload import ImageReader, header_number
from service.errors import BadParameter
from service.pipeline import Pipeline
from service.registry import Registry
from service.settings import Settings
from service.telemetry import Metrics

Out = TypeVar("Out")


@dataclass
class Services:
    """What `app.py` opens and the routes use."""

    settings: Settings
    registry: Registry
    pipeline: Pipeline
    reader: ImageReader
    metrics: Metrics
    draining: bool = False
    """Set when the process was told to stop: accepted requests finish, probes say not ready."""


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


def request_id(request: Request) -> str:
    """The id that the edge gave this request."""
    return str(request.state.request_id)


def deadline(request: Request) -> float:
    """Loop time by which inference must begin: `X-Deadline-Ms` from now, at most the configured one. Raises `BadParameter`."""
    limit = services(request).settings.deadline_ms
    asked = request.headers.get("x-deadline-ms")
    if asked is not None:
        milliseconds = header_number(asked)
        if not milliseconds:
            raise BadParameter(f"X-Deadline-Ms {asked[:40]!r} is not a positive number of milliseconds.")
        limit = min(limit, milliseconds)
    return asyncio.get_running_loop().time() + limit / 1000


async def unless_gone(request: Request, work: Coroutine[Any, Any, Out]) -> Out:
    """Run the work, and cancel it if the caller hangs up first. The body must have been read. Raises `ClientDisconnect`."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(request.receive())  # after the body, the next message can only be the disconnect
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()

"""What the routes share: the services behind them, what the edge knows of a request, and callers who leave."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from service.alarms import Alarms
from service.api.exchange import CLIENT, Client
from service.api.scoring_desk import Scorings
from service.api.upload import ImageReader, header_number
from service.errors import BadParameter
from service.pipeline import Asker, Pipeline
from service.pricing import Pricing
from service.registry import Registry
from service.settings import Settings
from service.siblings import Siblings
from service.telemetry import Metrics
from service.watcher import Watcher

if TYPE_CHECKING:
    from service.fetching import ImageFetcher

BACKGROUND_URGENCY = 4
"""Of the Priority header (RFC 9218, 4.1): 0 to 7, the lower the more urgent, 3 unless said. From here on, nobody waits for it."""

LEFT_AFTER_S = 0.05
"""Answers that come sooner cost no task that waits for a hang-up."""


@dataclass
class Services:
    """What `app.py` opens and the routes use."""

    settings: Settings
    registry: Registry
    pipeline: Pipeline
    reader: ImageReader
    metrics: Metrics
    watcher: Watcher
    scorings: Scorings
    pricing: Pricing
    fetcher: "ImageFetcher | None" = None
    """For callers who send an address in place of an image, where that is allowed."""
    hangups: Alarms = field(default_factory=lambda: Alarms(LEFT_AFTER_S))
    siblings: Siblings | None = None
    """The other workers, if there are any."""
    draining: bool = False
    """Set when the process was told to stop: accepted requests finish, probes say not ready."""


class Call(NamedTuple):
    """What the edge found out about a request, in `scope["state"]["call"]`."""

    id: str
    caller: str
    headers: Mapping[bytes, bytes]
    respond: Callable[[Exception, str], Response]
    """How its errors are worded."""


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


def call(request: Request) -> Call:
    """What the edge found out."""
    found: Call = request.scope["state"]["call"]
    return found


def asker(found: Call, settings: Settings) -> Asker:
    """Who asks, and how urgently: `X-Deadline-Ms` from now, at most the configured one, and `Priority: u=0..7`.

    Raises `BadParameter` for a deadline that makes no sense; a priority that makes none is ignored, as its RFC wants it.
    """
    limit = settings.deadline_ms
    asked = found.headers.get(b"x-deadline-ms")
    if asked is not None:
        milliseconds = header_number(asked.decode("latin-1"))
        if not milliseconds:
            raise BadParameter(f"X-Deadline-Ms {asked[:40].decode('latin-1')!r} is not a positive number of milliseconds.")
        limit = min(limit, milliseconds)
    priority = found.headers.get(b"priority")
    return Asker(
        found.caller, asyncio.get_running_loop().time() + limit / 1000, priority is not None and _in_background(priority)
    )


def _in_background(priority: bytes) -> bool:
    for member in priority.split(b","):
        name, _, value = member.strip().partition(b"=")
        if name == b"u" and len(value) == 1 and value.isdigit():
            return int(value) >= BACKGROUND_URGENCY
    return False


class UnlessGone:
    """`with UnlessGone(request, alarms):` cancels the block when the caller hangs up. The body must have been read.

    Raises `ClientDisconnect`. Written as `asyncio.timeout` is. Under `http1` it is called back; under other servers it waits for
    ASGI's message, in a task that is not made before an alarm says that the block takes a while.
    """

    __slots__ = ("_alarms", "_client", "_gone", "_receive", "_task", "_watch")

    def __init__(self, request: Request, alarms: Alarms) -> None:
        self._receive = request.receive
        self._client: Client | None = request.scope.get("extensions", {}).get(CLIENT)
        self._alarms = alarms
        self._gone = False
        self._task: asyncio.Task[Any] | None = None
        self._watch: asyncio.Task[Message] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._client is not None:
            self._client.tell(self._leave)
        else:
            self._alarms.set(self)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if self._client is not None:
            self._client.tell(None)
        else:
            self._alarms.cancel(self)
            if self._watch is not None:
                self._watch.remove_done_callback(self._left)
                self._watch.cancel()
        if self._gone and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise ClientDisconnect from exc

    def __call__(self) -> None:
        """What the alarm does: wait for the hang-up."""
        # After the body, the next message can only be the disconnect.
        self._watch = asyncio.ensure_future(self._receive())  # a coroutine, in every server there is
        self._watch.add_done_callback(self._left)

    def _left(self, watch: "asyncio.Task[Message]") -> None:
        if not watch.cancelled() and watch.exception() is None:
            self._leave()

    def _leave(self) -> None:
        if self._task is not None:
            self._gone = True
            self._task.cancel()

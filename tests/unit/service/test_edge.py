"""What the edge does with refusals, whoever makes them: an application that raises, or one that answers by itself."""

import asyncio
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.auth import Guard
from service.api.edge import Edge
from service.api.exchange import CLIENT
from service.api.tarpit import BURST, LONGEST_S
from service.errors import QueueFull
from service.settings import load_settings
from service.telemetry import Metrics
from tests.unit.service.batcher_bench import StillLoop

AT_ONCE = BURST + 1
MORE = 20


class Held:
    """An image that a caller sent."""


IMAGES: list["weakref.ref[Held]"] = []


async def raising(_scope: Scope, _receive: Receive, _send: Send) -> None:
    image = Held()
    IMAGES.append(weakref.ref(image))
    raise QueueFull("The queue is full.", 1)


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(b"no", 429)(scope, receive, send)


class Counted:
    """In place of metrics: what was told."""

    def __init__(self) -> None:
        self.left: list[tuple[int, float]] = []

    def enter(self) -> None:
        """Somebody came."""

    def leave(self, _route: str, status: int, seconds: float) -> None:
        self.left.append((status, seconds))


class Caller:
    """A request with its client."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = headers
        self.gone = False
        self.declined = False
        self.callback: Callable[[], None] | None = None
        self.statuses: list[int] = []

    def decline(self) -> None:
        self.declined = True

    def tell(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback

    def hang_up(self) -> None:
        self.gone = True
        assert self.callback
        self.callback()

    async def ask(self, edge: Edge) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start" and not self.gone:
                self.statuses.append(message["status"])

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/x",
            "headers": [(b"host", b"localhost"), *self.headers],
            "client": ("10.0.0.1", 1),
        }
        await edge(scope | {"extensions": {CLIENT: self}}, cast(Receive, None), send)


class Crowd:
    """Callers of one edge, on a clock that stands still."""

    def __init__(self, app: ASGIApp) -> None:
        self.loop = StillLoop()
        self.told = Counted()
        self.edge = Edge(app, Guard(load_settings()), cast(Metrics, self.told), {}, {})
        self.callers: list[Caller] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, count: int, *headers: tuple[bytes, bytes]) -> list[Caller]:
        new = [Caller(*headers) for _ in range(count)]
        self.callers += new
        self.tasks += [self.loop.create_task(caller.ask(self.edge)) for caller in new]
        self.loop.turn()
        return new

    @property
    def statuses(self) -> list[int]:
        return [status for caller in self.callers for status in caller.statuses]


@pytest.fixture(params=[raising, answering])
def crowd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    made = Crowd(request.param)
    monkeypatch.setattr("service.api.edge.time", SimpleNamespace(perf_counter=made.loop.time))
    yield made
    made.loop.turn(LONGEST_S)
    made.loop.turn(LONGEST_S)
    assert all(task.done() for task in made.tasks)
    assert made.loop.end() == []


def test_who_is_refused_often_is_told_later(crowd: Crowd) -> None:
    crowd.come(AT_ONCE + MORE)
    assert crowd.statuses == [429] * AT_ONCE
    assert [caller.declined for caller in crowd.callers] == [False] * AT_ONCE + [True] * MORE
    crowd.loop.turn(LONGEST_S)
    assert crowd.statuses == [429] * (AT_ONCE + MORE)
    assert {status for status, _ in crowd.told.left} == {429}
    assert {seconds for _, seconds in crowd.told.left} == {0}, "the time in which nothing was done for it is not the route's"
    assert all(caller.callback is None for caller in crowd.callers)


@pytest.mark.parametrize("header", [(b"expect", b"100-continue"), (b"x-deadline-ms", b"50")])
def test_who_is_in_a_hurry_is_told_at_once(crowd: Crowd, header: tuple[bytes, bytes]) -> None:
    crowd.come(AT_ONCE + MORE, header)
    assert crowd.statuses == [429] * (AT_ONCE + MORE)


def test_who_hangs_up_while_it_waits_is_gone(crowd: Crowd) -> None:
    waiting = crowd.come(AT_ONCE + MORE)[AT_ONCE:]
    crowd.loop.turn(0.001)
    for caller in waiting:
        caller.hang_up()
    crowd.loop.turn()
    assert all(task.done() for task in crowd.tasks)
    assert [status for status, _ in crowd.told.left] == [429] * AT_ONCE + [499] * MORE
    assert {seconds for _, seconds in crowd.told.left} == {0}


def test_at_the_end_of_a_stop_those_that_wait_are_told(crowd: Crowd) -> None:
    crowd.come(AT_ONCE + MORE)
    for task in crowd.tasks[AT_ONCE:]:
        task.cancel()
    crowd.loop.turn()
    assert crowd.statuses == [429] * (AT_ONCE + MORE)


def test_who_waits_holds_no_image() -> None:
    IMAGES.clear()
    crowd = Crowd(raising)
    crowd.come(AT_ONCE + MORE)
    assert len(crowd.statuses) == AT_ONCE
    assert [image() for image in IMAGES] == [None] * (AT_ONCE + MORE)
    crowd.loop.turn(LONGEST_S)
    assert crowd.loop.end() == []

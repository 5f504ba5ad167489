"""Who sends when, on a clock that the test turns."""

from typing import Any, cast

import pytest

from loadtest.bench.connection import Connection
from loadtest.bench.jobs import Outcome, Request, Stream
from loadtest.bench.loops import REST_S, ClosedLoop, Loop, OpenLoop
from loadtest.bench.recorder import Recorder
from loadtest.bench.replies import Reply

OK = Reply(200, b"yes", closes=False, retry_after="")


class Wire:
    """Stands in for a connection: it sends nothing and remembers."""

    def __init__(self) -> None:
        self.request: Request | None = None
        self.since = 0.0
        self.writing = False
        self.closed = 0
        self.broken = False

    def send(self, request: Request, since: float) -> None:
        self.request, self.since = request, since
        if self.broken:
            raise BrokenPipeError

    def close(self) -> None:
        self.closed += 1


class Scene:
    """A loop with its wires, at times that a test names."""

    def __init__(self, stream: Stream, *, seconds: float = 10, start: float = 0) -> None:
        self.wires: list[Wire] = []
        self.now = start
        recorder = Recorder(stream, 0, seconds)
        kind = ClosedLoop if stream.rate is None else OpenLoop
        self.loop: Loop = kind(stream, recorder, start, self._connect, lambda: self.now)

    def _connect(self, _owner: Loop) -> Connection:
        self.wires.append(Wire())
        return cast("Connection", self.wires[-1])

    def at(self, now: float) -> float:
        self.now = now
        return self.loop.tick(now)

    def reply(self, number: int, now: float, reply: Reply = OK) -> None:
        self.now = now
        self.loop.replied(cast("Connection", self.wires[number]), reply, now)

    def breaks(self, number: int, now: float) -> None:
        self.now = now
        self.loop.broke(cast("Connection", self.wires[number]), ConnectionResetError(), now)

    @property
    def outcome(self) -> Outcome:
        return self.loop.outcome(0.5)


def stream(**given: Any) -> Stream:  # noqa: ANN401  # as Stream types them
    return Stream("one", [Request(b"x", (b"yes",))], **{"connections": 2, **given})


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    scene = Scene(stream(rate=10, connections=4))
    assert scene.at(0) == pytest.approx(0.1)
    scene.at(0.35)  # the generator itself was held up: 0.1, 0.2 and 0.3 are due
    assert [wire.since for wire in scene.wires] == pytest.approx([0, 0.1, 0.2, 0.3])
    for number in range(4):
        scene.reply(number, 0.5)
    ok = scene.outcome.ok
    assert ok
    assert (ok.count, ok.max, ok.p50) == (4, 500, 300)
    assert scene.outcome.lag_ms == pytest.approx(250)


def test_an_open_loop_drops_what_finds_no_connection() -> None:
    scene = Scene(stream(rate=10, connections=2))
    scene.at(0.45)
    assert (scene.outcome.sent, scene.outcome.not_sent, len(scene.wires)) == (2, 3, 2)
    scene.reply(1, 0.46)
    scene.at(0.5)
    assert (scene.outcome.sent, scene.outcome.not_sent, len(scene.wires)) == (3, 3, 2)


def test_an_open_loop_uses_idle_connections_first() -> None:
    scene = Scene(stream(rate=10, connections=5))
    scene.at(0.1)
    scene.reply(1, 0.11)
    scene.reply(0, 0.12)
    scene.at(0.25)
    assert len(scene.wires) == 2
    assert scene.wires[0].since == pytest.approx(0.2), "the one that was used last"


def test_an_open_loop_ends_at_its_end() -> None:
    scene = Scene(stream(rate=10, connections=99), seconds=1)
    assert scene.at(5) == float("inf")
    assert scene.outcome.sent == 10


def test_an_open_loop_counts_by_when_requests_were_due() -> None:
    scene = Scene(stream(rate=10, connections=99), seconds=1, start=-0.5)
    scene.at(0.95)
    for number in range(15):
        scene.reply(number, 1.2)
    assert (scene.outcome.sent, scene.outcome.answered) == (10, 10), "not the five of the warm-up, but those that ended late"
    assert sum(step.ok for step in scene.outcome.time_line) == 15
    assert scene.outcome.time_line[-1].at_s == 1


def test_a_stream_has_a_time_of_its_own() -> None:
    scene = Scene(stream(rate=10, connections=99, begin_s=2, end_s=4), start=2)
    assert scene.at(1) == 2
    assert not scene.wires
    scene.at(9)
    assert (scene.outcome.sent, scene.outcome.seconds) == (20, 2)


def test_a_closed_loop_sends_when_it_has_its_reply() -> None:
    scene = Scene(stream(connections=2), start=-1)
    assert scene.at(-1) == float("inf")
    assert [wire.request is not None for wire in scene.wires] == [True, True]
    scene.reply(0, -0.2)
    assert scene.wires[0].since == -0.2
    scene.reply(0, 0.1)
    scene.reply(1, 0.5)
    ok = scene.outcome.ok
    assert ok
    assert (ok.count, ok.p50, ok.max) == (2, 300, 1500), "what ended within the measured time"
    assert [step.ok for step in scene.outcome.time_line] == [1, 1]


def test_a_closed_loop_begins_when_it_should() -> None:
    scene = Scene(stream(begin_s=3), start=3)
    assert scene.at(1) == 3
    assert not scene.wires
    scene.at(3)
    assert len(scene.wires) == 2


def test_a_closed_loop_stops_at_its_end() -> None:
    scene = Scene(stream(connections=1), seconds=1)
    scene.at(0)
    assert scene.loop.busy == 1
    scene.reply(0, 1.5)
    assert scene.loop.busy == 0
    assert scene.outcome.answered == 0
    assert scene.at(1.6) == float("inf")


def test_a_closed_loops_broken_connection_rests_before_it_tries_again() -> None:
    scene = Scene(stream(connections=1))
    scene.at(0)
    scene.breaks(0, 0.5)
    assert scene.loop.busy == 0
    assert scene.at(0.5) == 0.5 + REST_S
    scene.at(0.5 + REST_S)
    assert scene.loop.busy == 1
    assert scene.outcome.errors == {"ConnectionResetError": 1}


def test_a_failed_send_is_an_error_too() -> None:
    for rate in (None, 100):
        scene = Scene(stream(connections=1, rate=rate))
        scene.at(0)
        scene.wires[0].broken = True
        scene.reply(0, 0.005)
        scene.at(0.01)
        assert scene.outcome.errors == {"BrokenPipeError": 1}
        assert scene.loop.busy == 0


def test_an_idle_connection_that_is_closed_is_no_error() -> None:
    scene = Scene(stream(rate=10, connections=1))
    scene.at(0)
    scene.reply(0, 0.01)
    scene.breaks(0, 0.05)
    scene.at(0.1)
    assert scene.outcome.errors == {}
    assert scene.outcome.sent == 2
    assert len(scene.wires) == 1


@pytest.mark.parametrize(("closes", "writing"), [(True, False), (False, True)])
def test_a_connection_that_can_not_go_on_is_closed(*, closes: bool, writing: bool) -> None:
    scene = Scene(stream(connections=1))
    scene.at(0)
    scene.wires[0].writing = writing
    scene.reply(0, 0.1, OK._replace(closes=closes))
    assert scene.wires[0].closed == 1
    assert scene.loop.busy == 1, "and sends on a new one"


def test_an_open_loop_sends_again_what_a_broken_connection_took_along() -> None:
    scene = Scene(stream(rate=1, connections=1, retries=2))
    scene.at(0)
    scene.breaks(0, 0.2)
    scene.breaks(0, 0.3)
    assert scene.loop.busy == 1, "it is under way once more"
    scene.reply(0, 0.5)
    outcome = scene.outcome
    assert outcome.ok
    assert (outcome.sent, outcome.ok.max, outcome.errors) == (1, 500, {}), "one request, timed from when it was due"
    assert outcome.again_s == [0.2, 0.3]


def test_an_open_loop_gives_a_request_up_when_it_broke_too_often() -> None:
    scene = Scene(stream(rate=1, connections=1, retries=1))
    scene.at(0)
    scene.breaks(0, 0.2)
    scene.breaks(0, 0.3)
    assert (scene.loop.busy, scene.outcome.errors) == (0, {"ConnectionResetError": 1})
    scene.at(1)
    scene.breaks(0, 1.1)
    assert scene.loop.busy == 1, "the next request has attempts of its own"


def test_who_can_not_send_again_does_not_try_for_ever() -> None:
    scene = Scene(stream(rate=1, connections=1, retries=3))
    scene.at(0)
    scene.wires[0].broken = True
    scene.breaks(0, 0.2)
    assert (scene.loop.busy, scene.outcome.errors) == (0, {"BrokenPipeError": 1})
    assert len(scene.outcome.again_s) == 3

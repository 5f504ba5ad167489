"""wrk as the generator: what it is told, and what is made of what it says."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.bench import wire, wrk
from loadtest.bench.jobs import Job, Request, Stream
from loadtest.bench.processes import BenchError
from tests.unit.loadtest.tiny import Exchange, reply, tiny_server

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="there is no wrk here (Debian's package wrk)")

LABELS = ("sea", "forest", "glacier")
REQUESTS = [
    Request(
        wire.post("/", label.encode(), {"X-Number": str(number)}), (f'"label":"{label}"'.encode(), f'"id":"{number}"'.encode())
    )
    for number, label in enumerate(LABELS)
]


def answer(exchange: Exchange, label: bytes | None = None) -> None:
    """What was asked for, under its own number, or another label under it."""
    number = exchange.head.partition(b"X-Number: ")[2].split()[0]
    body = b'{"label":"' + (label or exchange.body) + b'","id":"' + number + b'"}'
    exchange.socket.sendall(reply(body))


def job(stream: Stream | None = None, seconds: float = 1) -> Job:
    return Job("127.0.0.1", 1, seconds, [stream or Stream("closed", REQUESTS, 3)])


@needs_wrk
def test_only_closed_loops_over_whole_seconds_are_for_it() -> None:
    closed = Stream("closed", REQUESTS, 3)
    assert wrk.fits(job(closed))
    assert not wrk.fits(job(closed, seconds=1.5))
    assert not wrk.fits(job(replace(closed, rate=10.0)))
    assert not wrk.fits(job(replace(closed, begin_s=1)))
    assert not wrk.fits(job(replace(closed, end_s=1)))
    assert not wrk.fits(job(replace(closed, requests=[replace(REQUESTS[0], needles=(b"a", b"b", b"3"))])))
    assert not wrk.fits(replace(job(), streams=[closed, closed]))


def test_without_it_nothing_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not wrk.fits(job())


def test_the_file_tells_requests_apart_by_the_number_in_their_last_needle() -> None:
    written = wrk.written(REQUESTS)
    assert written.startswith(b'"id":"\n')
    assert all(request.data + request.needles[0] in written for request in REQUESTS)
    assert wrk.written([Request(b"x", (b'"floor":true',))]) == b'\n1 12\nx"floor":true'
    assert wrk.written([Request(b"x", (b'"label":"a"', b'"filename":"7.jpg"'))]).startswith(b'"filename":"\n')


@needs_wrk
def test_replies_are_counted_timed_and_held_against_their_requests() -> None:
    said: list[str] = []
    with tiny_server(answer) as server:
        (outcome,) = wrk.run(replace(job(), port=server.job().port), said.append)
    assert said == ["measuring", "measured"]
    assert (outcome.wrong, outcome.errors) == (0, {})
    assert outcome.statuses.keys() == {"200"}
    assert outcome.rate == pytest.approx(outcome.answered / outcome.seconds)
    assert outcome.ok
    assert 0 < outcome.ok.p50 <= outcome.ok.p90 <= outcome.ok.p99 <= outcome.ok.max
    assert {exchange.body for exchange in server.requests} == {label.encode() for label in LABELS}


@needs_wrk
def test_a_label_that_belongs_to_another_request_is_wrong() -> None:
    def mixed_up(exchange: Exchange) -> None:
        answer(exchange, b"forest")

    with tiny_server(mixed_up) as server:
        (outcome,) = wrk.run(replace(job(), port=server.job().port), lambda _event: None)
    assert 0 < outcome.wrong < outcome.answered + outcome.wrong
    assert '"label":"forest"' in outcome.wrong_sample


@needs_wrk
def test_other_statuses_are_told_apart() -> None:
    def every_other(exchange: Exchange) -> None:
        if exchange.number % 2:
            answer(exchange)
        else:
            exchange.socket.sendall(reply(b"full", status="429 Too Many Requests"))

    with tiny_server(every_other) as server:
        (outcome,) = wrk.run(replace(job(), port=server.job().port), lambda _event: None)
    assert outcome.statuses.keys() == {"200", "429"}
    assert outcome.wrong == 0
    assert outcome.other_sample == "full"


@needs_wrk
def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BenchError, match="wrk failed"):
        wrk.run(job(), lambda _event: None)

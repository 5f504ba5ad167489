"""The generator against real sockets."""

import io
import json
import sys
import threading

import pytest

from loadtest.bench import generator, wire
from loadtest.bench.jobs import Job, Outcome, Request, Stream
from tests.unit.loadtest.tiny import Exchange, reply, tiny_server

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll is Linux's")


def request(label: str = "sea", body: bytes = b"pixels") -> Request:
    return Request(wire.post("/", body, {"X-Label": label}), (f'"label":"{label}"'.encode(),))


def closed(*requests: Request, connections: int = 2) -> Stream:
    return Stream("closed", requests or [request()], connections)


def echo(exchange: Exchange) -> None:
    """Answer with the label that the request asks for."""
    label = exchange.head.partition(b"X-Label: ")[2].split()[0]
    exchange.socket.sendall(reply(b'{"label":"' + label + b'"}'))


def only(outcomes: list[Outcome]) -> Outcome:
    (outcome,) = outcomes
    return outcome


def test_right_replies_are_counted_and_connections_kept() -> None:
    with tiny_server(echo) as server:
        outcome = only(generator.run(server.job(closed(request("sea"), request("forest"), connections=3))))
    assert outcome.statuses == {"200": outcome.answered}
    assert outcome.answered > 3
    assert outcome.rate == pytest.approx(outcome.answered / 0.1)
    assert (outcome.wrong, outcome.errors, outcome.unanswered) == (0, {}, 0)
    assert server.connections == 3
    assert outcome.ok
    assert 0 < outcome.ok.p50 <= outcome.ok.p90 <= outcome.ok.p99 <= outcome.ok.max
    assert sum(step.ok for step in outcome.time_line) == len(server.requests), "what came while draining stands there too"


def test_requests_are_sent_whole_and_in_turn() -> None:
    with tiny_server(echo) as server:
        generator.run(server.job(closed(request("sea", b"1"), request("forest", b"22"), connections=1)))
    assert [exchange.body for exchange in server.requests[:4]] == [b"1", b"22", b"1", b"22"]


def test_a_wrong_label_is_seen() -> None:
    def every_third_wrong(exchange: Exchange) -> None:
        if exchange.number % 3 == 0:
            exchange.socket.sendall(reply(b'{"label":"street"}'))
        else:
            echo(exchange)

    with tiny_server(every_third_wrong) as server:
        outcome = only(generator.run(server.job(closed())))
    assert outcome.wrong == len(range(0, len(server.requests), 3))
    assert outcome.wrong_sample == '{"label":"street"}'


def test_a_wrong_label_in_the_warm_up_is_seen_too() -> None:
    def wrong_at_first(exchange: Exchange) -> None:
        exchange.socket.sendall(reply(b'{"label":"street"}')) if exchange.number == 0 else echo(exchange)

    with tiny_server(wrong_at_first) as server:
        assert only(generator.run(server.job(closed(), warm_up_s=0.05, seconds=0.05))).wrong == 1


def test_replies_in_pieces() -> None:
    def in_pieces(exchange: Exchange) -> None:
        for byte in reply(b'{"label":"sea"}'):
            exchange.socket.sendall(bytes([byte]))

    with tiny_server(in_pieces) as server:
        outcome = only(generator.run(server.job(closed())))
    assert outcome.answered
    assert (outcome.wrong, outcome.errors) == (0, {})


def test_it_connects_anew_when_the_server_says_that_it_closes() -> None:
    def once(exchange: Exchange) -> None:
        exchange.socket.sendall(reply(b'{"label":"sea"}', headers=b"Connection: close\r\n"))
        exchange.socket.shutdown(2)

    with tiny_server(once) as server:
        outcome = only(generator.run(server.job(closed())))
    assert outcome.answered > 2
    assert outcome.errors == {}
    assert server.connections == len(server.requests)


def test_it_goes_on_after_a_connection_broke() -> None:
    def first_breaks(exchange: Exchange) -> None:
        if exchange.number == 0:
            exchange.socket.sendall(b"HTTP/1.1 2")
            exchange.socket.shutdown(2)
        else:
            echo(exchange)

    with tiny_server(first_breaks) as server:
        outcome = only(generator.run(server.job(closed(connections=1), seconds=0.3)))
    assert outcome.errors == {"ConnectionResetError": 1}
    assert outcome.answered > 2


def test_no_server_is_an_error_and_no_busy_loop() -> None:
    with tiny_server(echo) as server:
        pass
    outcome = only(generator.run(server.job(closed(connections=1), seconds=0.2)))
    assert set(outcome.errors) == {"ConnectionRefusedError"}
    assert 1 <= outcome.errors["ConnectionRefusedError"] <= 5
    assert outcome.ok is None


def test_a_request_larger_than_the_sockets_buffers_arrives_whole() -> None:
    big = bytes(range(256)) * 40_000
    with tiny_server(echo) as server:
        outcome = only(generator.run(server.job(closed(request(body=big), connections=2))))
    assert server.requests
    assert all(exchange.body == big for exchange in server.requests)
    assert outcome.errors == {}


def test_a_refusal_before_the_request_is_through_is_read() -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.socket.sendall(reply(b"no", "413 Content Too Large"))

    with tiny_server(refuse, read_body=False) as server:
        outcome = only(generator.run(server.job(closed(request(body=bytes(20_000_000)), connections=1))))
    assert outcome.statuses.get("413"), outcome


def test_other_statuses_stand_apart() -> None:
    def busy(exchange: Exchange) -> None:
        if exchange.number % 2:
            echo(exchange)
        else:
            exchange.socket.sendall(reply(b"busy", "429 Too Many Requests", b"Retry-After: 1\r\n"))

    with tiny_server(busy) as server:
        outcome = only(generator.run(server.job(closed(connections=1))))
    assert outcome.ok
    assert outcome.others
    assert outcome.statuses == {"200": outcome.ok.count, "429": outcome.others.count}
    assert abs(outcome.ok.count - outcome.others.count) <= 1
    assert outcome.retry_after == {"1": len(range(0, len(server.requests), 2))}
    assert outcome.other_sample == "429 busy"


def test_streams_have_figures_of_their_own() -> None:
    small, big = closed(request("sea")), Stream("big", [request("forest", bytes(1000))], 1, rate=200)
    with tiny_server(echo) as server:
        outcomes = generator.run(server.job(small, big))
    assert [outcome.name for outcome in outcomes] == ["closed", "big"]
    assert outcomes[1].sent + outcomes[1].not_sent == 20
    assert outcomes[1].sent == outcomes[1].answered > 0
    bodies = [len(exchange.body) for exchange in server.requests]
    assert bodies.count(1000) == outcomes[1].answered
    assert outcomes[0].answered <= bodies.count(6)


def test_an_open_loop_sends_what_is_due_and_no_more() -> None:
    with tiny_server(echo) as server:
        outcome = only(generator.run(server.job(Stream("open", [request()], 50, rate=500), seconds=0.2)))
    assert outcome.sent + outcome.not_sent == 100
    assert outcome.answered == outcome.sent == len(server.requests)


def test_an_open_loop_does_not_wait_for_replies() -> None:
    everybody = threading.Event()

    def hold(exchange: Exchange) -> None:
        if exchange.number == 9:
            everybody.set()
        everybody.wait(10)
        echo(exchange)

    with tiny_server(hold) as server:
        outcome = only(generator.run(server.job(Stream("open", [request()], 10, rate=200), seconds=0.1)))
    assert server.connections == 10
    assert outcome.sent + outcome.not_sent == 20
    assert outcome.ok
    assert outcome.ok.max >= 40, "the first was due nine gaps of 5 ms before the server answered anybody"


def test_what_falls_due_in_the_last_instant_is_sent() -> None:
    with tiny_server(echo) as server:
        outcome = only(generator.run(server.job(Stream("open", [request()], 2, rate=1 / 0.0499999), seconds=0.05)))
    assert outcome.sent == outcome.answered == 2


def test_a_stream_sends_within_its_own_time_only() -> None:
    with tiny_server(echo) as server:
        late = Stream("late", [request()], 50, rate=200, begin_s=0.05, end_s=0.1)
        outcome = only(generator.run(server.job(late, warm_up_s=0.05, seconds=0.15)))
    assert len(server.requests) == outcome.sent == 10


def test_what_is_never_answered_is_counted() -> None:
    done = threading.Event()

    def hold(_exchange: Exchange) -> None:
        done.wait(10)

    with tiny_server(hold) as server:
        outcome = only(generator.run(server.job(Stream("open", [request()], 3, rate=100), seconds=0.05, drain_s=0.05)))
        done.set()
    assert (outcome.sent, outcome.unanswered, outcome.not_sent, outcome.ok) == (3, 3, 2, None)


def test_it_says_when_measuring_begins_and_ends() -> None:
    said: list[tuple[str, int]] = []
    with tiny_server(echo) as server:
        generator.run(server.job(closed(), warm_up_s=0.05), lambda event: said.append((event, len(server.requests))))
    assert [event for event, _ in said] == ["measuring", "measured"]
    assert 0 < said[0][1] < said[1][1], "the warm-up sends too"


def test_the_command_reads_a_job_and_writes_a_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr("gc.disable", lambda: None)
    monkeypatch.setattr(generator, "allow_many", lambda: None)
    with tiny_server(echo) as server:
        job = server.job(closed(), Stream("open", [request()], 5, rate=100, begin_s=0.02, end_s=0.06))
        assert Job.from_json(job.to_json()) == Job(**{**vars(job), "streams": [*map(as_lists, job.streams)]})
        monkeypatch.setattr(sys, "stdin", io.StringIO(job.to_json()))
        generator.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["measuring", "measured", "result"]
    outcomes = [Outcome.from_values(values) for values in lines[-1]["outcomes"]]
    assert [outcome.name for outcome in outcomes] == ["closed", "open"]
    assert outcomes[1].sent + outcomes[1].not_sent == 4
    assert outcomes[0].ok
    assert outcomes[0].time_line[0].at_s == 0


def as_lists(stream: Stream) -> Stream:
    return Stream(**{**vars(stream), "requests": list(stream.requests)})

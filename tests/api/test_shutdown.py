"""A stop that loses nothing: who was accepted is answered, who comes later is turned away, and the exit status is 0."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import LABELS
from tests.support.images import plain
from tests.support.server import Connection, Server, eventually, running, serving

SLOW: dict[str, Any] = {"fake__labels": LABELS, "fake__latency_ms": 1000, "fake__max_batch_size": 2}
HANGING: dict[str, Any] = {"fake__labels": LABELS, "fake__latency_ms": 600_000, "fake__max_batch_size": 2, "grace_s": 1}


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def send_all(server: Server, connections: ExitStack, count: int) -> list[Connection]:
    """So many requests, all accepted when this returns."""
    opened = [connections.enter_context(Connection(server)) for _ in range(count)]
    for number, connection in enumerate(opened):
        connection.post("/v1/classify?top=1", plain((0, 128, 255)[number % 3]))
    eventually(lambda: server.backend("fake")["queue"]["held"] == count, "all are accepted")
    return opened


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was in the backlog when the listener closed
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_those_who_were_accepted_are_answered_and_newcomers_are_turned_away(
    tmp_path: Path, connections: ExitStack, number: signal.Signals
) -> None:
    with running(tmp_path, **SLOW) as server:
        accepted = send_all(server, connections, 5)
        server.send_signal(number)
        assert server.wait_for("stopping")["signal"] == number.name
        eventually(lambda: refused(server.address), "nobody listens any more")
        assert server.process.poll() is None, "it still answers"
        replies = [connection.reply() for connection in accepted]
        assert [reply.status_code for reply in replies] == [200] * 5
        assert [reply.json()["predictions"][0]["label"] for reply in replies] == ["dark", "grey", "bright", "dark", "grey"]
        assert [reply.headers["connection"] for reply in replies] == ["close"] * 5
        assert server.wait() == 0
        assert server.complaints == []


def test_who_was_still_sending_is_answered_too(tmp_path: Path, connections: ExitStack) -> None:
    image = plain(255)
    with running(tmp_path, fake__labels=LABELS) as server:
        uploading = connections.enter_context(Connection(server))
        uploading.post("/v1/classify", image[:10], length=len(image))
        eventually(lambda: server.metric("parallax_requests_in_progress") == 2, "the upload has begun")
        server.send_signal()
        eventually(lambda: refused(server.address), "nobody listens any more")
        uploading.send(image[10:])
        reply = uploading.reply()
        assert (reply.status_code, reply.json()["predictions"][0]["label"]) == (200, "bright")
        assert server.wait() == 0


def test_idle_connections_do_not_hold_a_stop_up(tmp_path: Path, connections: ExitStack) -> None:
    with running(tmp_path, fake__labels=LABELS, grace_s=600) as server:
        idle = [connections.enter_context(Connection(server)) for _ in range(3)]
        idle[0].post("/v1/classify", plain(0))
        assert idle[0].reply().status_code == 200
        server.send_signal()
        assert server.wait() == 0
        assert all(connection.closed() for connection in idle)


def test_a_backend_that_hangs_does_not_hold_a_stop_up_beyond_the_grace_time(tmp_path: Path, connections: ExitStack) -> None:
    with running(tmp_path, **HANGING) as server:
        accepted = send_all(server, connections, 3)
        server.send_signal()
        assert server.wait() == 0
        assert "Traceback" not in server.text
        for connection in accepted:
            assert not is_a_500(connection), "a stop is no fault of the service: 503, or a closed connection"


def is_a_500(connection: Connection) -> bool:
    try:
        return connection.reply().status_code == httpx.codes.INTERNAL_SERVER_ERROR
    except (AssertionError, ConnectionResetError):
        return False


def test_an_upload_that_hangs_does_not_hold_a_stop_up_beyond_the_grace_time(tmp_path: Path, connections: ExitStack) -> None:
    with running(tmp_path, fake__labels=LABELS, grace_s=1, body_timeout_s=600) as server:
        uploading = connections.enter_context(Connection(server))
        uploading.post("/v1/classify", b"half", length=1000)
        eventually(lambda: server.metric("parallax_requests_in_progress") == 2, "the upload has begun")
        server.send_signal()
        assert server.wait() == 0
        assert "Traceback" not in server.text


def test_an_impatient_second_signal_is_still_a_clean_end(tmp_path: Path, connections: ExitStack) -> None:
    with running(tmp_path, **SLOW) as server:
        send_all(server, connections, 1)
        server.send_signal(signal.SIGINT)
        server.wait_for("stopping")
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0


def test_a_stop_before_it_is_ready_is_clean_too(home: Path) -> None:
    with running(home) as server:
        server.wait_for("backend ready")  # it loads models; it does not listen yet
        server.send_signal()
        assert server.wait() == 0
        assert "Traceback" not in server.text


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"port": "http"}, "PARALLAX_PORT"),
        ({"device": "cuda"}, "PARALLAX_DEVICE=cuda"),
        ({"default_backend": "other"}, "PARALLAX_DEFAULT_BACKEND=other"),
        ({"api_keys": "me:short"}, "at least 16"),
        ({"fake__labels": "a,b"}, "PARALLAX_FAKE__LABELS"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_what_it_can_not_do_it_says_in_a_line_and_ends_with_2(home: Path, settings: dict[str, str], told: str) -> None:
    with running(home, **settings) as server:
        assert server.wait() == 2
        assert told in str(server.records[-1].get("text")), server.text
        assert "Traceback" not in server.text


def test_a_port_that_is_taken_is_named(home: Path, server: Server) -> None:
    with running(home, port=server.address[1]) as second:
        assert second.wait() == 2
        assert f"127.0.0.1:{server.address[1]}" in str(second.records[-1].get("text"))
        assert "address already in use" in second.text.lower()
        assert "Traceback" not in second.text


def test_it_listens_on_ipv6_as_well(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    with serving(tmp_path, host="::1", fake__labels=LABELS) as server, server.client() as client:
        assert server.url.startswith("http://[::1]:")
        assert client.post("/v1/classify", content=plain(0)).status_code == 200

"""Requests are timed where they go out and where their replies come in."""

import time

import gevent.server
import gevent.socket
from geventhttpclient.client import HTTPClient

from loadtest.wire_clock import WireClock


def test_a_request_counts_from_its_first_byte_to_the_last_of_its_reply() -> None:
    seen: list[float] = []

    def serve(connection: gevent.socket.socket, _peer: object) -> None:
        while connection.recv(65536):
            seen.append(time.perf_counter())
            for part in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok"):
                connection.sendall(part)
                seen.append(time.perf_counter())
                gevent.sleep(0.02)

    with_server = gevent.server.StreamServer(("127.0.0.1", 0), serve)
    with_server.start()
    client = HTTPClient("127.0.0.1", with_server.server_port)
    clock = WireClock(client)
    for _ in range(2):  # the second one on the connection that is there
        seen.clear()
        began = time.perf_counter()
        gevent.sleep(0.02)
        assert client.post("/", b"hello").read() == b"ok"
        gevent.sleep(0.02)
        sent, received = clock.between(began, time.perf_counter())
        assert began + 0.02 <= sent <= seen[0], "before the server has it"
        assert seen[1] < received
        assert seen[2] <= received + 0.01
        assert received <= time.perf_counter() - 0.02
    client.close()
    with_server.stop()


def test_where_nothing_was_seen_on_the_wire_the_callers_own_times_count() -> None:
    clock = WireClock(HTTPClient("127.0.0.1", 1))
    assert clock.between(3.0, 4.0) == (3.0, 4.0)
    clock.sent, clock.received = 1.0, 2.0
    assert clock.between(3.0, 4.0) == (3.0, 4.0), "those of an earlier request"

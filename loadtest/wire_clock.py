"""When a request went out and its reply came in, by the socket: without what building the one and reading the other take.

A C client such as wrk measures no more than that. What Python does around it is locust's own, and would pass for the server's.
"""

import time
from typing import Any

import gevent.socket
from geventhttpclient.client import HTTPClient


class WireClock:
    """Of one caller, who sends one request at a time. Times by `time.perf_counter`.

    TLS wraps sockets in ones of its own, which tell nothing: `sent` and `received` are then what they were.
    """

    def __init__(self, client: HTTPClient) -> None:
        """Watch what a client sends from now on."""
        self.sent = self.received = 0.0
        setattr(client._connection_pool, "_create_tcp_socket", self._socket)  # noqa: B010, SLF001  # made to be replaced

    def between(self, began: float, ended: float) -> tuple[float, float]:
        """When the request of this time went out and its reply was there: as seen on the wire, else these two."""
        if began <= self.sent <= self.received <= ended:
            return self.sent, self.received
        return began, ended

    def _socket(self, family: int, kind: int, protocol: int) -> gevent.socket.socket:
        return _Watched(self, family, kind, protocol)


class _Watched(gevent.socket.socket):  # type: ignore[misc]  # gevent ships no types for it
    def __init__(self, clock: WireClock, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._clock = clock

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401  # as socket.socket
        self._clock.sent = time.perf_counter()
        super().sendall(data, flags)

    def recv(self, *args: int) -> bytes:
        data: bytes = super().recv(*args)
        self._clock.received = time.perf_counter()
        return data

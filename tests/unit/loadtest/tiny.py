"""A tiny HTTP server in threads whose every reply a test decides."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from loadtest.bench.jobs import Job, Stream

Respond = Callable[["Exchange"], None]


def reply(body: bytes, status: str = "200 OK", headers: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n".encode() + headers + b"\r\n" + body


@dataclass
class Exchange:
    """One request, and the socket to answer on; closing the socket ends the connection."""

    socket: socket.socket
    head: bytes
    body: bytes
    number: int
    """Of all requests to this server, from 0."""


@dataclass
class Tiny:
    port: int
    connections: int = 0
    requests: list[Exchange] = field(default_factory=list)

    def job(self, *streams: Stream, seconds: float = 0.1, warm_up_s: float = 0, drain_s: float = 5) -> Job:
        return Job("127.0.0.1", self.port, seconds, streams, warm_up_s=warm_up_s, drain_s=drain_s)


@contextmanager
def tiny_server(respond: Respond, *, read_body: bool = True) -> Iterator[Tiny]:
    """Serve on a free port; `respond` is called on a thread for each connection, after the request was read."""
    listener = socket.create_server(("127.0.0.1", 0))
    tiny = Tiny(listener.getsockname()[1])
    lock = threading.Lock()

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError), connection.makefile("rb") as file:
            while line := file.readline():
                head = line
                while (line := file.readline()).strip():
                    head += line
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                body = file.read(length) if read_body else b""
                with lock:
                    exchange = Exchange(connection, head, body, len(tiny.requests))
                    tiny.requests.append(exchange)
                respond(exchange)
                if not read_body:
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                tiny.connections += 1
                thread = threading.Thread(target=converse, args=[connection], daemon=True)
                threads.append(thread)
                thread.start()

    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    try:
        yield tiny
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(10)

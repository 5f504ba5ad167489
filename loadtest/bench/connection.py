"""A keep-alive connection that never blocks, and the poller that tells when it can go on."""

import select
import socket
from typing import TYPE_CHECKING

from loadtest.bench.jobs import Request
from loadtest.bench.replies import BrokenReply, Reply, ReplyReader

if TYPE_CHECKING:
    from loadtest.bench.loops import Loop

RECEIVE_BYTES = 16_384
"""More than a reply has, and little enough that a buffer for it costs nothing."""


class Poller:
    """epoll, with the connection that each descriptor belongs to. Linux only."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.poll = self._epoll.poll
        self.modify = self._epoll.modify

    def add(self, connection: "Connection", descriptor: int) -> None:
        """Watch a new connection, which is writable once it stands."""
        self.connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLOUT)

    def forget(self, descriptor: int) -> None:
        """Call it before the descriptor is closed."""
        self._epoll.unregister(descriptor)
        del self.connections[descriptor]

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """Events, or none before so long is over.

        epoll rounds its time up to the next millisecond, so it is asked for one less, and the last bit is waited for by
        select, which keeps microseconds: an open loop sends on time.
        """
        if seconds >= 0.002:
            return self.poll(seconds - 0.001)
        if seconds > 0:
            select.select([self._epoll], [], [], seconds)
        return self.poll(0)

    def close(self) -> None:
        """Close every connection, then itself."""
        for connection in list(self.connections.values()):
            connection.close()
        self._epoll.close()


class Connection:
    """One socket at a time to one address; opened anew when it is needed and was closed."""

    __slots__ = ("_address", "_descriptor", "_poller", "_reader", "_rest", "_socket", "owner", "request", "since")

    def __init__(self, owner: "Loop", poller: Poller, address: tuple[str, int]) -> None:
        self.owner = owner
        self.request: Request | None = None
        """The one that is under way."""
        self.since = 0.0
        """From when the latency of that request counts."""
        self._address = address
        self._poller = poller
        self._socket: socket.socket | None = None
        self._descriptor = -1
        self._rest: memoryview | None = None
        self._reader = ReplyReader()

    @property
    def open(self) -> bool:
        """Whether there is a socket."""
        return self._socket is not None

    @property
    def writing(self) -> bool:
        """Whether a part of the request has not gone out yet."""
        return self._rest is not None

    def send(self, request: Request, since: float) -> None:
        """Send a request, or as much of it as fits; the rest follows as it can. Raises `OSError`."""
        self.request, self.since = request, since
        data = request.data
        if self._socket is None:
            self._rest = memoryview(data)
            self._connect()
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._rest = memoryview(data)[sent:]
            self._poller.modify(self._descriptor, select.EPOLLIN | select.EPOLLOUT)

    def ready(self, events: int) -> Reply | None:
        """Go on after an event. Returns a reply that is whole now. Raises `OSError` or `BrokenReply`."""
        failed: OSError | None = None
        if self._rest is not None and events & ~select.EPOLLIN:
            try:
                self._send_rest()
            except OSError as exc:
                failed = exc  # whoever refuses a long request may answer first and close then: the answer is still to be read
        if self._socket is None or not (failed or events & ~select.EPOLLOUT):
            return None
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            data = b""
            if failed is None:
                return None
        if not data:
            raise failed or ConnectionResetError("closed without a reply")
        if self.request is None:
            raise BrokenReply("a reply to nothing")
        return self._reader.feed(data)

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        if self._socket is not None:
            self._poller.forget(self._descriptor)
            self._socket.close()
        self._socket, self._rest = None, None
        self._reader = ReplyReader()

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._descriptor = self._socket.fileno()
        self._poller.add(self, self._descriptor)
        self._socket.connect_ex(self._address)  # what fails is told by the first event

    def _send_rest(self) -> None:
        if self._socket is None or self._rest is None:
            return
        try:
            sent = self._socket.send(self._rest)
        except BlockingIOError:
            return
        if sent == len(self._rest):
            self._rest = None
            self._poller.modify(self._descriptor, select.EPOLLIN)
        else:
            self._rest = self._rest[sent:]

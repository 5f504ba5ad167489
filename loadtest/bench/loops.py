"""Who sends when: a closed loop by its replies, an open one by the clock."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import cycle

from loadtest.bench.connection import Connection
from loadtest.bench.jobs import Outcome, Stream
from loadtest.bench.recorder import Recorder
from loadtest.bench.replies import Reply

REST_S = 0.05
"""Pause of a closed loop's connection that failed: a server that is gone must not be asked in a busy loop."""


class Loop(ABC):
    """One stream's connections. It is told of each event and, between them, of the time."""

    def __init__(
        self,
        stream: Stream,
        recorder: Recorder,
        start: float,
        connect: Callable[["Loop"], Connection],
        clock: Callable[[], float],
    ) -> None:
        """`start`: when it begins to send, which is before the recorder's time if there is a warm-up."""
        self._stream = stream
        self._recorder = recorder
        self._start = start
        self._end = recorder.end
        self._connect = connect
        self._clock = clock
        self._requests = cycle(stream.requests)
        self._connections: list[Connection] = []

    @property
    def busy(self) -> int:
        """Requests under way."""
        return sum(connection.request is not None for connection in self._connections)

    @abstractmethod
    def tick(self, now: float) -> float:
        """Send what is due. Returns when it wants to be called again."""

    @abstractmethod
    def replied(self, connection: Connection, reply: Reply, now: float) -> None:
        """A connection has its reply."""

    @abstractmethod
    def broke(self, connection: Connection, error: Exception, now: float) -> None:
        """A connection failed, or was closed while nothing was under way."""

    def outcome(self, tick_s: float) -> Outcome:
        """Sum up, once the loop is over."""
        return self._recorder.outcome(self.busy, tick_s)

    def _new(self) -> Connection:
        connection = self._connect(self)
        self._connections.append(connection)
        return connection

    def _record(self, connection: Connection, reply: Reply, now: float) -> None:
        if connection.request is not None:
            self._recorder.replied(connection.request, connection.since, now, reply)
        connection.request = None
        if reply.closes or connection.writing:  # what is left of a refused request must not reach the next
            connection.close()

    def _send(self, connection: Connection, since: float, now: float) -> None:
        self._recorder.sent(since, now)
        try:
            connection.send(next(self._requests), since)
        except OSError as exc:
            self.broke(connection, exc, now)


class ClosedLoop(Loop):
    """As many requests under way as there are connections."""

    def __init__(
        self,
        stream: Stream,
        recorder: Recorder,
        start: float,
        connect: Callable[["Loop"], Connection],
        clock: Callable[[], float],
    ) -> None:
        """As `Loop`."""
        super().__init__(stream, recorder, start, connect, clock)
        self._resting: deque[tuple[float, Connection]] = deque()
        """Connections that send at a time, in its order."""

    def tick(self, now: float) -> float:
        if now >= self._end:
            return math.inf
        if not self._connections:
            if now < self._start:
                return self._start
            self._resting.extend((now, self._new()) for _ in range(self._stream.connections))
        while self._resting and self._resting[0][0] <= now:
            self._send(self._resting.popleft()[1], now, now)
        return self._resting[0][0] if self._resting else math.inf

    def replied(self, connection: Connection, reply: Reply, now: float) -> None:
        self._record(connection, reply, now)
        if now < self._end:
            again = self._clock()
            self._send(connection, again, again)

    def broke(self, connection: Connection, error: Exception, now: float) -> None:
        if connection.request is not None:
            self._recorder.failed(error)
        connection.request = None
        connection.close()
        self._resting.append((now + REST_S, connection))


class OpenLoop(Loop):
    """A constant rate, whatever the server does. Latency counts from when a request was due, so a stall shows in full."""

    _count = 0

    def __init__(
        self,
        stream: Stream,
        recorder: Recorder,
        start: float,
        connect: Callable[["Loop"], Connection],
        clock: Callable[[], float],
    ) -> None:
        """`start` as in `Loop`; the stream must have a rate."""
        super().__init__(stream, recorder, start, connect, clock)
        if not stream.rate:
            raise ValueError("an open loop needs a rate")
        self._gap = 1 / stream.rate
        self._idle: list[Connection] = []
        self._tried: dict[Connection, int] = {}
        """How often the request under way was sent before, if it was."""

    def tick(self, now: float) -> float:
        while (due := self._start + self._count * self._gap) <= now:
            if due >= self._end:
                return math.inf
            self._count += 1
            if self._idle:
                self._send(self._idle.pop(), due, now)  # the last one used: the others grow old and are closed
            elif len(self._connections) < self._stream.connections:
                self._send(self._new(), due, now)
            else:
                self._recorder.not_sent(due)
        return due if due < self._end else math.inf

    def replied(self, connection: Connection, reply: Reply, now: float) -> None:
        self._tried.pop(connection, None)
        self._record(connection, reply, now)
        self._idle.append(connection)

    def broke(self, connection: Connection, error: Exception, now: float) -> None:
        request, since = connection.request, connection.since
        connection.request = None
        connection.close()
        if request is None:
            return  # idle for longer than the server keeps connections; it stays in the list and is opened anew
        tried = self._tried.pop(connection, 0)
        if tried >= self._stream.retries:
            self._recorder.failed(error)
            self._idle.append(connection)
            return
        self._recorder.again(now)
        self._tried[connection] = tried + 1
        try:
            connection.send(request, since)
        except OSError as exc:
            self.broke(connection, exc, now)

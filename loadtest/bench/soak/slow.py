"""Callers who send a byte now and then, to hold what they can: half of them within the headers, half within the body."""

import select
import socket
import time
from collections import Counter
from contextlib import suppress

from loadtest.bench.beside import Beside
from loadtest.bench.replies import ReplyReader
from loadtest.bench.soak.kills import Kills
from loadtest.bench.soak.rude import COME_BACK
from service.api.wire import HEADERS_S

EVERY_S = 0.5
CALLERS = 16
SLACK_S = 10.0
"""Beyond the time that the service gives them."""
HEAD = "POST /v1/classify?backend={} HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = "x\r\nContent-Length: 100000\r\n\r\n"


class _Slow:
    """One of them."""

    def __init__(self, address: tuple[str, int], sent: str, code: bytes, limit_s: float) -> None:
        """`code`: what the reply's problem is called. `limit_s`: how long it may be borne."""
        self.code = code
        self.socket = socket.create_connection(address, SLACK_S)
        self.socket.sendall(sent.encode())
        self.until = time.monotonic() + limit_s + SLACK_S
        self.reader = ReplyReader()


class SlowCallers(Beside):
    """Always so many of them. Each must be told 408 in the end, and another takes its place."""

    def __init__(self, address: tuple[str, int], backend: str, kills: Kills, body_timeout_s: float) -> None:
        super().__init__(EVERY_S)
        self._address = address
        self._head = HEAD.format(backend)
        self._kills = kills
        self._body_timeout_s = body_timeout_s
        self._open: list[_Slow] = []
        self._made = 0
        self._told: Counter[str] = Counter()
        self._broken = 0

    def step(self) -> None:
        self._read()
        for slow in self._open:
            with suppress(OSError):  # what became of it is read next time
                slow.socket.send(b"x")
        while len(self._open) < CALLERS:
            self._made += 1
            in_body = self._made % 2 == 0
            sent, code = (self._head + BODY, b"body-too-slow") if in_body else (self._head, b"headers-too-slow")
            self._open.append(_Slow(self._address, sent, code, self._body_timeout_s if in_body else HEADERS_S))

    def told(self) -> str:
        kinds = ", ".join(f"{count:,} x {name}" for name, count in sorted(self._told.items()))
        broken = f"; {self._broken} broke with a killed worker" if self._broken else ""
        return f"Slow callers, {CALLERS} at any time, a byte every {EVERY_S:g} s: {kinds or 'none'}{broken}."

    def stop(self) -> None:
        super().stop()
        for slow in self._open:
            slow.socket.close()

    def _read(self) -> None:
        readable, _, _ = select.select([slow.socket for slow in self._open], [], [], 0)
        now = time.monotonic()
        for slow in list(self._open):
            if slow.socket in readable:
                self._hear(slow)
            elif now > slow.until:
                self.unforeseen.append(f"a slow caller was not told {slow.code.decode()} in time")
                self._drop(slow)

    def _hear(self, slow: _Slow) -> None:
        try:
            data = slow.socket.recv(65_536)
        except OSError:
            data = b""
        reply = slow.reader.feed(data) if data else None
        if reply is not None:
            if reply.status == 408 and slow.code in reply.body:
                self._told[slow.code.decode()] += 1
            elif reply.status == COME_BACK:
                self._told["told to come back"] += 1
            else:
                self.unforeseen.append(f"a slow caller was told {reply.status} {reply.body[:300]!r}")
            self._drop(slow)
        elif not data:
            if self._kills.excuse(time.monotonic()):
                self._broken += 1
            else:
                self.unforeseen.append(f"a slow caller's connection was closed without {slow.code.decode()}")
            self._drop(slow)

    def _drop(self, slow: _Slow) -> None:
        slow.socket.close()
        self._open.remove(slow)

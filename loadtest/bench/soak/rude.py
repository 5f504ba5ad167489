"""Callers who do it wrong, by mistake or malice: each kind has one right answer."""

import random
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.asks import grey_png
from loadtest.bench.beside import Beside
from loadtest.bench.images import big_jpeg
from loadtest.bench.replies import Reply, ReplyReader
from loadtest.bench.soak.kills import Kills
from loadtest.bench.wire import post

EVERY_S = 0.25
PATIENCE_S = 60.0
BIG = (5472, 3648)
"""What a 20-megapixel camera writes: big, and no fault."""
TOO_MANY_BYTES = 8_000_000
"""More than PARALLAX_MAX_BODY_BYTES."""
COME_BACK = 429
"""Anyone may be told so."""


@dataclass(frozen=True)
class Rude:
    """Bytes that are sent at once, and what is told of them."""

    name: str
    data: bytes
    status: int | None
    """None: the caller hangs up and hears nothing."""
    needle: bytes = b""
    """What the reply's body holds."""


class RudeCallers(Beside):
    """One of each kind in turn, in an order that is drawn anew each time."""

    def __init__(
        self, address: tuple[str, int], kinds: Sequence[Rude], kills: Kills, seed: int, every_s: float = EVERY_S
    ) -> None:
        super().__init__(every_s)
        self._address = address
        self._kinds = kinds
        self._kills = kills
        self._chance = random.Random(seed)  # noqa: S311  # no secret
        self._order: list[Rude] = []
        self._told: Counter[str] = Counter()
        self._broken = 0

    def step(self) -> None:
        self._order = self._order or self._chance.sample(self._kinds, len(self._kinds))
        rude = self._order.pop()
        try:
            reply = ask(self._address, rude)
        except OSError as exc:
            if not self._kills.excuse(time.monotonic()):
                raise OSError(f"{rude.name}: {exc}") from exc
            self._broken += 1
            return
        if reply is not None and reply.status == COME_BACK:
            self._told["told to come back"] += 1
        elif reply is not None and (reply.status != rude.status or rude.needle not in reply.body):
            self.unforeseen.append(f"{rude.name}: {reply.status} {reply.body[:300]!r}")
        else:
            self._told[f"{rude.name} ({rude.status or 'no reply wanted'})"] += 1

    def told(self) -> str:
        kinds = ", ".join(f"{count:,} x {name}" for name, count in sorted(self._told.items()))
        broken = f"; {self._broken} broke with a killed worker" if self._broken else ""
        return f"Bad callers, each with the answer that is theirs: {kinds or 'none'}{broken}."


def ask(address: tuple[str, int], rude: Rude) -> Reply | None:
    """Send, and read one reply if one is wanted. Raises `OSError` if none comes."""
    with socket.create_connection(address, PATIENCE_S) as connection:
        failed: OSError | None = None
        try:
            connection.sendall(rude.data)
        except OSError as exc:
            failed = exc  # whoever refuses may have answered before
        if rude.status is None:
            return None
        reader = ReplyReader()
        while data := connection.recv(65_536):
            if reply := reader.feed(data):
                return reply
    raise failed or ConnectionResetError("closed without a reply")


def kinds_of(backend: str, image: bytes) -> list[Rude]:
    """All kinds but the slow ones. `image`: a good one."""
    path = f"/v1/classify?backend={backend}"
    whole = post(path, image, {})
    chunk = f"{TOO_MANY_BYTES:x}\r\n".encode() + bytes(TOO_MANY_BYTES) + b"\r\n0\r\n\r\n"
    chunked = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk
    return [
        Rude("20 megapixels", post(path, big_jpeg(*BIG), {}), 200, b'"predictions":'),
        Rude("broken image", post(path, image[: len(image) // 2], {}), 422, b"broken-image"),
        Rude("no image", post(path, b"hello", {}), 415, b"unsupported-image"),
        Rude("empty body", post(path, b"", {}), 400, b"empty-image"),
        Rude("3,600 megapixels", post(path, grey_png(60_000, 60_000), {}), 413, b"image-too-large"),
        Rude("too many bytes", post(path, bytes(TOO_MANY_BYTES), {}), 413, b"body-too-large"),
        Rude("too many bytes, chunked", chunked, 413, b"body-too-large"),
        Rude("no form in a form", post(path, b"\xff" * 1000, {}, "multipart/form-data; boundary=X"), 400, b"bad-multipart"),
        Rude("no such backend", post("/v1/classify?backend=nobody", image, {}), 404, b"unknown-backend"),
        Rude("a deadline that is none", post(path, image, {"X-Deadline-Ms": "soon"}), 422, b"bad-parameter"),
        Rude("TLS to HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01", 400, b"bad-http"),
        Rude("no HTTP", b"hello\r\n\r\n", 400, b"bad-http"),
        Rude("headers without end", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431, b"headers-too-large"),
        Rude("hang-up within the body", whole[: -len(image) // 2], None),
        Rude("hang-up before the reply", whole, None),
    ]

"""Reads HTTP/1.1 replies out of whatever pieces a socket gives, as little of them as a load generator needs."""

from typing import NamedTuple


class BrokenReply(Exception):
    """The bytes are no reply that this reader understands: it knows `Content-Length` only, and one reply at a time."""


class Reply(NamedTuple):
    """One whole reply."""

    status: int
    body: bytes
    closes: bool
    """Whether the server said that it closes the connection."""
    retry_after: str
    """As sent; empty without one."""


class _Head(NamedTuple):
    status: int
    start: int
    """Where the body starts."""
    whole: int
    """Bytes of head and body."""
    closes: bool
    retry_after: str


class ReplyReader:
    """State of one connection's reading. Nearly every reply comes in one piece, and that way is the short one."""

    __slots__ = ("_head", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._head: _Head | None = None

    def feed(self, data: bytes) -> Reply | None:
        """Take the next bytes. Returns the reply once it is whole, None before. Raises `BrokenReply`."""
        if self._held:
            data = self._held + data
        head = self._head
        if head is None:
            head, data = _read_head(data)
        if head is None or len(data) < head.whole:
            self._head, self._held = head, data
            return None
        if len(data) > head.whole:
            raise BrokenReply("there are bytes after the reply")
        self._head, self._held = None, b""
        return Reply(head.status, data[head.start :], head.closes, head.retry_after)


def _read_head(data: bytes) -> tuple[_Head | None, bytes]:
    """The head of a final reply if it is here, and the data from its beginning on: interim replies (1xx) are dropped."""
    while True:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None, data
        if not data.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not data[9:12].isdigit():
            raise BrokenReply(f"no reply begins like this: {data[:40]!r}")
        status = int(data[9:12])
        if status >= 200:
            break
        data = data[end + 4 :]
    lines = data[:end].lower()
    length = 0
    if status not in (204, 304):
        stated = _field(lines, b"\r\ncontent-length:")
        if not stated.isdigit():
            raise BrokenReply("a reply without Content-Length")
        length = int(stated)
    closes = b"\r\nconnection: close" in lines or lines.startswith(b"http/1.0")
    retry_after = _field(lines, b"\r\nretry-after:").decode("latin-1") if status >= 400 else ""
    return _Head(status, end + 4, end + 4 + length, closes, retry_after), data


def _field(lines: bytes, name: bytes) -> bytes:
    """Value of a header; `name` is lower case, with the line break before and the colon after it."""
    start = lines.find(name)
    if start < 0:
        return b""
    start += len(name)
    end = lines.find(b"\r\n", start)
    return lines[start : end if end >= 0 else len(lines)].strip()

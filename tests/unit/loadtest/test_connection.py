"""What a connection does when its socket will not take the whole request."""

import select
import sys
from typing import Any, cast

import pytest

from loadtest.bench.connection import Connection, Poller
from loadtest.bench.jobs import Request
from loadtest.bench.replies import BrokenReply, Reply

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="epoll is Linux's")

REFUSED = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno"


class Socket:
    """Does what a test says, call by call."""

    def __init__(self, *, sends: list[int | OSError], receives: list[bytes | OSError]) -> None:
        self.sends = sends
        self.receives = receives
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> int:
        done = self.sends.pop(0)
        if isinstance(done, OSError):
            raise done
        self.sent.append(bytes(data[:done]))
        return done

    def recv(self, _size: int) -> bytes:
        data = self.receives.pop(0)
        if isinstance(data, OSError):
            raise data
        return data


class Watch:
    """Stands in for the poller."""

    def __init__(self) -> None:
        self.events = 0

    def modify(self, _descriptor: int, events: int) -> None:
        self.events = events


def connection(sends: list[int | OSError], receives: list[bytes | OSError]) -> tuple[Connection, Socket, Watch]:
    watch, socket = Watch(), Socket(sends=sends, receives=receives)
    found = Connection(cast("Any", None), cast("Poller", watch), ("", 0))
    found._socket = cast("Any", socket)
    return found, socket, watch


def test_the_rest_of_a_request_follows() -> None:
    found, socket, watch = connection([3, BlockingIOError(), 4, 3], [])
    found.send(Request(b"0123456789"), 1.0)
    assert watch.events & select.EPOLLOUT
    for _ in range(2):
        assert found.ready(select.EPOLLOUT) is None
        assert found.writing
    assert found.ready(select.EPOLLOUT) is None
    assert socket.sent == [b"012", b"3456", b"789"]
    assert not found.writing
    assert not watch.events & select.EPOLLOUT


def test_an_answer_is_read_although_the_request_can_not_be_sent() -> None:
    found, _, _ = connection([3, BrokenPipeError()], [REFUSED])
    found.send(Request(b"0123456789"), 1.0)
    assert found.ready(select.EPOLLOUT | select.EPOLLHUP) == Reply(413, b"no", closes=False, retry_after="")


@pytest.mark.parametrize("after", [b"", BlockingIOError()])
def test_without_an_answer_the_failed_send_is_the_error(after: bytes | OSError) -> None:
    found, _, _ = connection([3, BrokenPipeError()], [after])
    found.send(Request(b"0123456789"), 1.0)
    with pytest.raises(BrokenPipeError):
        found.ready(select.EPOLLOUT)


def test_an_event_without_data_is_none() -> None:
    found, _, _ = connection([1], [BlockingIOError()])
    found.send(Request(b"0"), 1.0)
    assert found.ready(select.EPOLLIN) is None


def test_bytes_that_nobody_asked_for_are_an_error() -> None:
    found, _, _ = connection([], [REFUSED])
    with pytest.raises(BrokenReply, match="a reply to nothing"):
        found.ready(select.EPOLLIN)

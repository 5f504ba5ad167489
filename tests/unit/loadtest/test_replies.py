"""Replies are read whole, however the bytes come."""

import pytest

from loadtest.bench.replies import BrokenReply, Reply, ReplyReader

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nx-id: 3\r\n\r\n{"label":"sea"}'
EXPECTED = Reply(200, b'{"label":"sea"}', closes=False, retry_after="")


def pieces(*data: bytes) -> list[Reply | None]:
    reader = ReplyReader()
    return [reader.feed(piece) for piece in data]


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_a_reply_cut_anywhere_is_the_same_reply(cut: int) -> None:
    assert pieces(WHOLE[:cut], WHOLE[cut:]) == [None, EXPECTED]


def test_a_reply_byte_by_byte() -> None:
    assert pieces(*(bytes([byte]) for byte in WHOLE)) == [None] * (len(WHOLE) - 1) + [EXPECTED]


def test_replies_follow_each_other_on_one_reader() -> None:
    assert pieces(WHOLE, WHOLE[:60], WHOLE[60:], WHOLE) == [EXPECTED, None, EXPECTED, EXPECTED]


@pytest.mark.parametrize("cut", range(1, 140))
def test_interim_replies_are_skipped(cut: int) -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE
    assert pieces(data[:cut], data[cut:])[-1] == EXPECTED


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 0\r\n", True),
        (b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n", True),
    ],
)
def test_it_is_told_when_the_connection_closes(head: bytes, *, closes: bool) -> None:
    assert pieces(head + b"\r\n") == [Reply(200, b"", closes, "")]


def test_a_refusal_says_when_to_come_again() -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\ncontent-length: 4\r\n\r\n"
    assert pieces(head + b"busy") == [Reply(429, b"busy", closes=False, retry_after="2")]


def test_no_content_needs_no_length() -> None:
    assert pieces(b"HTTP/1.1 204 No Content\r\n\r\n") == [Reply(204, b"", closes=False, retry_after="")]


@pytest.mark.parametrize(
    "data",
    [
        b"220 smtp.example ESMTP\r\n\r\n",
        b"HTTP/1.1 ok 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        WHOLE + b"more",
    ],
)
def test_what_it_does_not_understand_is_an_error(data: bytes) -> None:
    with pytest.raises(BrokenReply):
        pieces(data)

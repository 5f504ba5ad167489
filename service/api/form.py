"""A form whose file is too large for memory: written where it is told to as it arrives, with small fields beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.api.multipart import MAX_PARTS
from service.errors import BadMultipart, BodyTooSlow

MAX_FIELD_BYTES = 64_000
WRITE_BYTES = 1_000_000
"""What is written at once, on a thread, so that a slow disk holds up nobody."""


class Sink(Protocol):
    """Where the file goes."""

    def write(self, data: bytes) -> None:
        """Take some bytes. Blocks."""
        ...


class StreamedForm:
    """Reads one form. `file` names the part that goes to a sink; without a filename it is a field as others are."""

    def __init__(self, content_type: bytes, file: str, idle_s: float) -> None:
        """`idle_s`: how long nothing may arrive. Raises `BadMultipart`."""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadMultipart("The Content-Type of the form states no boundary.")
        self.fields: dict[str, str] = {}
        self.received = False
        """Whether there was a file."""
        self._file = file
        self._idle_s = idle_s
        self._parts = 0
        self._name = ""
        self._in_file = False
        self._header = b""
        self._disposition = b""
        self._data = bytearray()
        self._ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._name_header,
            "on_header_value": self._add_to_header,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # its TypedDict, by another name
        self._value = b""
        self._pending = bytearray()
        """Of the file."""

    async def read(self, receive: Receive, open_sink: Callable[[], Awaitable[Sink]]) -> None:
        """Read to the end. Raises `BadMultipart`, `BodyTooSlow`, `ClientDisconnect` and what the sink raises."""
        sink: Sink | None = None
        more = True
        while more:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow(f"Nothing arrived for {self._idle_s:g} s.") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            more = message.get("more_body", False)
            try:
                self._parser.write(message.get("body", b""))
            except MultipartParseError as exc:
                raise BadMultipart(f"The multipart body can't be read: {exc}") from exc
            if self._pending and (len(self._pending) >= WRITE_BYTES or not more):
                sink = sink or await open_sink()
                data, self._pending = bytes(self._pending), bytearray()
                await asyncio.to_thread(sink.write, data)
        if not self._ended:
            raise BadMultipart("The multipart body ends before its last boundary.")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadMultipart(f"The form has more than {MAX_PARTS} parts.")
        self._disposition = b""

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = self._name == self._file and b"filename" in options
        if self._name in self.fields or (self._in_file and self.received):
            raise BadMultipart(f"The form has two parts named `{self._name[:100]}`.")
        self.received = self.received or self._in_file
        self._data = bytearray()

    def _add(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pending += data[start:end]
            return
        self._data += data[start:end]
        if len(self._data) > MAX_FIELD_BYTES:
            advice = f" Send the file itself: -F {self._file}=@FILE" if self._name == self._file else ""
            raise BadMultipart(f"The field `{self._name[:100]}` has more than {MAX_FIELD_BYTES:,} bytes.{advice}")

    def _end_part(self) -> None:
        if not self._in_file:
            self.fields[self._name] = self._data.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True

"""A form whose file is too large for memory: written where it is told to as it arrives, with small fields beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from service.api.multipart import Form
from service.errors import BadMultipart, BodyTooSlow

MAX_FIELD_BYTES = 64_000
WRITE_BYTES = 1_000_000
"""What is written at once, on a thread, so that a slow disk holds up nobody."""


class Sink(Protocol):
    """Where the file goes."""

    def write(self, data: bytes) -> None:
        """Take some bytes. Blocks."""
        ...


class StreamedForm(Form):
    """Reads one form. `file` names the part that goes to a sink; without a filename it is a field as others are."""

    def __init__(self, content_type: bytes, file: str, idle_s: float) -> None:
        """`idle_s`: how long nothing may arrive. Raises `BadMultipart`."""
        super().__init__(content_type)
        self.fields: dict[str, str] = {}
        self.received = False
        """Whether there was a file."""
        self.title = ""
        """What the file is called where it came from, without folders."""
        self._file = file
        self._idle_s = idle_s
        self._name = ""
        self._in_file = False
        self._data = bytearray()
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
            self.feed(message.get("body", b""))
            if self._pending and (len(self._pending) >= WRITE_BYTES or not more):
                sink = sink or await open_sink()
                data, self._pending = bytes(self._pending), bytearray()
                await asyncio.to_thread(sink.write, data)
        self.check_end()

    def begin_part(self, name: str, *, is_file: bool) -> None:
        self._name = name
        self._in_file = is_file and name == self._file
        if name in self.fields or (self._in_file and self.received):
            raise BadMultipart(f"The form has two parts named `{name[:100]}`.")
        if self._in_file:
            self.received = True
            self.title = PurePosixPath(self.filename.replace("\\", "/")).name
        self._data = bytearray()

    def add(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pending += data[start:end]
            return
        self._data += data[start:end]
        if len(self._data) > MAX_FIELD_BYTES:
            advice = f" Send the file itself: -F {self._file}=@FILE" if self._name == self._file else ""
            raise BadMultipart(f"The field `{self._name[:100]}` has more than {MAX_FIELD_BYTES:,} bytes.{advice}")

    def end_part(self) -> None:
        if not self._in_file:
            self.fields[self._name] = self._data.decode("utf-8", "replace")

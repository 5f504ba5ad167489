"""Reads one image from a request: raw bytes or multipart, within limits that are checked before and while they arrive."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Self

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from models.errors import EmptyImage
from service.admission import ByteBudget
from service.alarms import Alarms
from service.errors import BadMultipart, BadParameter, BodyTooLarge, BodyTooSlow
from service.settings import Settings

MULTIPART_OVERHEAD = 16_384
"""Bytes that boundaries, part headers and small fields may add to an image."""


class ImageReader:
    """Reads bodies against one budget."""

    def __init__(self, settings: Settings) -> None:
        """Limits come from the settings."""
        self.max_bytes = settings.max_body_bytes
        self.timeout = settings.body_timeout_s
        self.alarms = Alarms(settings.body_timeout_s)
        self.budget = ByteBudget(settings.max_inflight_bytes + MULTIPART_OVERHEAD)

    def admit(self, headers: Mapping[bytes, bytes]) -> "Upload":
        """Enter its block, in which `read` gives the image's bytes, and their share of the budget is held.

        Raises `BodyTooLarge` or `BadParameter`; entering the block raises `UploadsFull`: all of them before the first byte.
        """
        multipart = headers.get(b"content-type", b"")[:10].lower() == b"multipart/"
        cap = self.max_bytes + (MULTIPART_OVERHEAD if multipart else 0)
        declared = headers.get(b"content-length")
        size = cap if declared is None else _length(declared)
        if size > cap:
            raise self.too_large()
        return Upload(self, headers if multipart else None, cap, size)

    def too_large(self) -> BodyTooLarge:
        """What is said of a body beyond the cap."""
        return BodyTooLarge(f"At most {self.max_bytes:,} bytes are accepted (PARALLAX_MAX_BODY_BYTES). Send a smaller image.")


class Upload:
    """An image that arrives."""

    __slots__ = ("_cap", "_form", "_reader", "_size")

    def __init__(self, reader: ImageReader, form: Mapping[bytes, bytes] | None, cap: int, size: int) -> None:
        self._reader = reader
        self._form = form
        self._cap = cap
        self._size = size

    def __enter__(self) -> Self:
        self._reader.budget.reserve(self._size)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._reader.budget.release(self._size)

    async def read(self, receive: Receive) -> bytes:
        """The image's bytes. Raises `BodyTooLarge`, `BodyTooSlow`, `BadMultipart` or `EmptyImage`, and `ClientDisconnect`."""
        chunks = []
        size = 0
        more = True
        with _Patience(self._reader.alarms) as patience:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(chunk)
                if size > self._cap:
                    raise self._reader.too_large()
                chunks.append(chunk)
        if patience.over:
            raise BodyTooSlow(f"The body did not arrive within {self._reader.timeout:g} s; {size:,} bytes did.")
        if not size:
            raise EmptyImage("The body is empty. Send the image file itself: curl --data-binary @photo.jpg URL")
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return body if self._form is None else await self._image_part(self._form, body)

    async def _image_part(self, headers: Mapping[bytes, bytes], body: bytes) -> bytes:
        async def once() -> AsyncGenerator[bytes, None]:
            yield body

        parser = MultiPartParser(Headers(raw=list(headers.items())), once(), max_files=1, max_fields=16)
        parser.spool_max_size = len(body)  # it is in memory already, a temporary file would gain nothing
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, ValueError) as exc:
            raise BadMultipart(f"The multipart body can't be read: {getattr(exc, 'message', exc)}") from exc
        part = form.get("image")
        if not isinstance(part, UploadFile):
            names = ", ".join(sorted(form)) or "none"
            raise BadMultipart(f"There is no file part named `image` (parts: {names}). Try: curl -F image=@photo.jpg URL")
        data = await part.read()
        if len(data) > self._reader.max_bytes:
            raise self._reader.too_large()
        if not data:
            raise EmptyImage("The `image` part is empty.")
        return data


class _Patience:
    """Leaves the block when an alarm goes off, and says so: `asyncio.timeout` without a timer of its own."""

    __slots__ = ("_alarms", "_task", "over")

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._task: asyncio.Task[Any] | None = None
        self.over = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._alarms.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, _exc: object, _trace: object) -> bool:
        self._alarms.cancel(self)
        return self.over and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError

    def __call__(self) -> None:
        """What the alarm does."""
        self.over = True
        if self._task is not None:
            self._task.cancel()


def _length(value: bytes) -> int:
    length = header_number(value.decode("latin-1"))
    if length is None:
        raise BadParameter(f"Content-Length {value[:40].decode('latin-1')!r} is not a number.")
    return length


def header_number(text: str) -> int | None:
    """A header's whole number of at most 18 digits, None for anything else: `int` alone takes spaces, signs and underscores."""
    return int(text) if len(text) <= 18 and text.isascii() and text.isdigit() else None

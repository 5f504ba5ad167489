"""Reads one image from a request: raw bytes or multipart, within limits that are checked before and while they arrive."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, Self

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from models.errors import EmptyImage
from service.admission import ByteBudget
from service.alarms import Alarms
from service.errors import BadMultipart, BadParameter, BodyTooLarge, BodyTooSlow, UploadsFull
from service.settings import Settings

MULTIPART_OVERHEAD = 16_384
"""Bytes that boundaries, part headers and small fields may add to an image."""


class ImageReader:
    """Reads bodies against one budget."""

    def __init__(self, settings: Settings) -> None:
        """Limits come from the settings."""
        self._max_bytes = settings.max_body_bytes
        self._timeout = settings.body_timeout_s
        self._alarms = Alarms(settings.body_timeout_s)
        self._budget = ByteBudget(settings.max_inflight_bytes + MULTIPART_OVERHEAD)

    def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> "Upload":
        """`async with` it to get the image's bytes; their share of the budget is held for the length of the block.

        Raises `UploadsFull` before the first byte, `BodyTooLarge`, `BodyTooSlow`, `BadMultipart`, `EmptyImage`, `BadParameter`.
        """
        multipart = headers.get(b"content-type", b"")[:10].lower() == b"multipart/"
        cap = self._max_bytes + (MULTIPART_OVERHEAD if multipart else 0)
        declared = _declared_length(headers)
        if declared is not None and declared > cap:
            raise self._too_large()
        return Upload(
            self._image(headers if multipart else None, receive, cap), self._budget, cap if declared is None else declared
        )

    async def _image(self, multipart: Mapping[bytes, bytes] | None, receive: Receive, cap: int) -> bytes:
        body = await self._body(receive, cap)
        return body if multipart is None else await self._image_part(multipart, body)

    async def _body(self, receive: Receive, cap: int) -> bytes:
        chunks = []
        size = 0
        more = True
        async with _Patience(self._alarms) as patience:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(chunk)
                if size > cap:
                    raise self._too_large()
                chunks.append(chunk)
        if patience.over:
            raise BodyTooSlow(f"The body did not arrive within {self._timeout:g} s; {size:,} bytes did.")
        if not size:
            raise EmptyImage("The body is empty. Send the image file itself: curl --data-binary @photo.jpg URL")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

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
        if len(data) > self._max_bytes:
            raise self._too_large()
        if not data:
            raise EmptyImage("The `image` part is empty.")
        return data

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"At most {self._max_bytes:,} bytes are accepted (PARALLAX_MAX_BODY_BYTES). Send a smaller image.")


class _Patience:
    """Leaves the block when an alarm goes off, and says so: `asyncio.timeout` without a timer of its own."""

    __slots__ = ("_alarms", "_task", "over")

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._task: asyncio.Task[Any] | None = None
        self.over = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._alarms.set(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _exc: object, _trace: object) -> bool:
        self._alarms.cancel(self)
        return self.over and self._task is not None and self._task.uncancel() == 0 and kind is asyncio.CancelledError

    def __call__(self) -> None:
        """What the alarm does."""
        self.over = True
        if self._task is not None:
            self._task.cancel()


class Upload:
    """An image that arrives. A class costs every request less than a generator would."""

    __slots__ = ("_budget", "_image", "_size")

    def __init__(self, image: Coroutine[Any, Any, bytes], budget: ByteBudget, size: int) -> None:
        self._image = image
        self._budget = budget
        self._size = size

    async def __aenter__(self) -> bytes:
        try:
            self._budget.reserve(self._size)
        except UploadsFull:
            self._image.close()
            raise
        try:
            return await self._image
        except BaseException:
            self._budget.release(self._size)
            raise

    async def __aexit__(self, *_exc: object) -> None:
        self._budget.release(self._size)


def _declared_length(headers: Mapping[bytes, bytes]) -> int | None:
    value = headers.get(b"content-length")
    if value is None:
        return None
    length = header_number(value.decode("latin-1"))
    if length is None:
        raise BadParameter(f"Content-Length {value[:40].decode('latin-1')!r} is not a number.")
    return length


def header_number(text: str) -> int | None:
    """A header's whole number of at most 18 digits, None for anything else: `int` alone takes spaces, signs and underscores."""
    return int(text) if len(text) <= 18 and text.isascii() and text.isdigit() else None

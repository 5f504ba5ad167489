"""Reads one image from a request: raw bytes or multipart, within limits that are checked before and while they arrive."""

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from models.errors import EmptyImage
from service.admission import ByteBudget
from service.alarms import Alarms
from service.api import multipart
from service.errors import BadParameter, BodyTooLarge, BodyTooSlow
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

    def admit(self, headers: Mapping[bytes, bytes], max_bytes: int | None = None) -> "Upload":
        """Enter its block, in which `read` gives the image's bytes, and their share of the budget is held.

        `max_bytes`: a smaller cap than the settings'. Raises `BodyTooLarge` or `BadParameter`; entering the block raises
        `UploadsFull`: all of them before the first byte.
        """
        content_type = headers.get(b"content-type", b"")
        form = content_type if content_type[:10].lower() == b"multipart/" else None
        limit = self.max_bytes if max_bytes is None else min(max_bytes, self.max_bytes)
        declared = headers.get(b"content-length")
        upload = Upload(self, form, limit, None if declared is None else _length(declared))
        upload.check()
        return upload


class Upload:
    """An image that arrives."""

    __slots__ = ("_cap", "_form", "_limit", "_reader", "_size")

    def __init__(self, reader: ImageReader, form: bytes | None, limit: int, declared: int | None) -> None:
        """`form`: the Content-Type of a form. `limit`: bytes of the image at most. `declared`: bytes of the body."""
        self._reader = reader
        self._form = form
        self._limit = limit
        self._cap = limit + (MULTIPART_OVERHEAD if form else 0)
        self._size = self._cap if declared is None else declared

    def check(self) -> None:
        """Raise `BodyTooLarge` if that is known by now."""
        if self._size > self._cap:
            raise self._too_large()

    def __enter__(self) -> Self:
        self._reader.budget.reserve(self._size)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._reader.budget.release(self._size)

    async def read(self, receive: Receive, part: str = "image", *, bare: bool = False) -> bytes:
        """The image's bytes: the body itself, or that part of a form; `bare`: even one without a filename.

        Raises `BodyTooLarge`, `BodyTooSlow`, `BadMultipart` or `EmptyImage`, and `ClientDisconnect`.
        """
        body = await self.body(receive)
        if not body:
            raise EmptyImage("The body is empty. Send the image file itself: curl --data-binary @photo.jpg URL")
        if self._form is None:
            return body
        data = multipart.part(self._form, body, part, bare=bare)
        if len(data) > self._limit:
            raise self._too_large()
        if not data:
            raise EmptyImage(f"The `{part}` part is empty.")
        return data

    async def body(self, receive: Receive) -> bytes:
        """The body as it comes. Raises `BodyTooLarge` or `BodyTooSlow`, and `ClientDisconnect`."""
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
                    raise self._too_large()
                chunks.append(chunk)
        if patience.over:
            raise BodyTooSlow(f"The body did not arrive within {self._reader.timeout:g} s; {size:,} bytes did.")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self) -> BodyTooLarge:
        why = " (PARALLAX_MAX_BODY_BYTES)" if self._limit == self._reader.max_bytes else ""
        return BodyTooLarge(f"At most {self._limit:,} bytes are accepted{why}. Send a smaller image.")


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

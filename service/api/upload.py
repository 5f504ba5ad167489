"""Reads one image from a request: raw bytes or multipart, within limits that are checked before and while they arrive."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from models.errors import EmptyImage
from service.admission import ByteBudget
from service.errors import BadMultipart, BadParameter, BodyTooLarge, BodyTooSlow
from service.settings import Settings

MULTIPART_OVERHEAD = 16_384
"""Bytes that boundaries, part headers and small fields may add to an image."""


class ImageReader:
    """Reads bodies against one budget."""

    def __init__(self, settings: Settings) -> None:
        """Limits come from the settings."""
        self._max_bytes = settings.max_body_bytes
        self._timeout = settings.body_timeout_s
        self._budget = ByteBudget(settings.max_inflight_bytes + MULTIPART_OVERHEAD)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yield the image's bytes; their share of the budget is held for the length of the block.

        Raises `UploadsFull` before the first byte, `BodyTooLarge`, `BodyTooSlow`, `BadMultipart`, `EmptyImage`, `BadParameter`.
        """
        multipart = request.headers.get("content-type", "").lower().startswith("multipart/")
        cap = self._max_bytes + (MULTIPART_OVERHEAD if multipart else 0)
        declared = _declared_length(request.headers)
        if declared is not None and declared > cap:
            raise self._too_large()
        with self._budget.reserve(cap if declared is None else declared):
            body = await self._body(request, cap)
            yield await self._image_part(request.headers, body) if multipart else body

    async def _body(self, request: Request, cap: int) -> bytes:
        chunks = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > cap:
                        raise self._too_large()
                    chunks.append(chunk)
        except TimeoutError:
            raise BodyTooSlow(f"The body did not arrive within {self._timeout:g} s; {size:,} bytes did.") from None
        if not size:
            raise EmptyImage("The body is empty. Send the image file itself: curl --data-binary @photo.jpg URL")
        return b"".join(chunks)

    async def _image_part(self, headers: Headers, body: bytes) -> bytes:
        async def once() -> AsyncGenerator[bytes, None]:
            yield body

        parser = MultiPartParser(headers, once(), max_files=1, max_fields=16)
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


def _declared_length(headers: Headers) -> int | None:
    value = headers.get("content-length")
    if value is None:
        return None
    length = header_number(value)
    if length is None:
        raise BadParameter(f"Content-Length {value[:40]!r} is not a number.")
    return length


def header_number(text: str) -> int | None:
    """A header's whole number of at most 18 digits, None for anything else: `int` alone takes spaces, signs and underscores."""
    return int(text) if len(text) <= 18 and text.isascii() and text.isdigit() else None

"""A set on its way to a server: a zip as it is, or a folder, zipped as it is sent. No more than an image is in memory at once."""

import asyncio
import io
import json
import secrets
import zipfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from models.datasets import LIMITS
from models.errors import UsageError
from service.scoring.sources import FolderSource

CHUNK_BYTES = 256_000


class Parcel(ABC):
    """The bytes of a zip."""

    size: int
    """Of what has to be read for it, in bytes."""

    @abstractmethod
    def parts(self) -> Iterator[tuple[bytes, int]]:
        """Bytes of the zip, and how much was read for them. Blocks."""


class Zip(Parcel):
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def parts(self) -> Iterator[tuple[bytes, int]]:
        with self._path.open("rb") as file:
            while data := file.read(CHUNK_BYTES):
                yield data, len(data)


class Folder(Parcel):
    """Class folders, as a zip that is the same whenever it is made: a server keeps a set by the digest of its bytes."""

    def __init__(self, path: Path, split: str | None) -> None:
        """Raises `DatasetError` if there are none."""
        self._source = FolderSource(path, split)
        self._images = [task.image for task in self._source.tasks()]
        self.size = sum((path / self._source.prefix / image).stat().st_size for image in self._images)

    def parts(self) -> Iterator[tuple[bytes, int]]:
        """Raises `ImageError` for an image that can't be read."""
        pipe = _Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # images are compressed
            for image in self._images:
                data = self._source.read(image, LIMITS.max_bytes)
                archive.writestr(zipfile.ZipInfo(image), data)
                yield pipe.take(), len(data)
        yield pipe.take(), 0


class _Pipe(io.RawIOBase):
    """What a zip is written into, and taken away from: it can't go back."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  # any buffer
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        found, self._bytes = bytes(self._bytes), bytearray()
        return found


def packed(path: Path, split: str | None) -> Parcel:
    """What is to be sent of a set. Raises `UsageError` or `DatasetError`."""
    if path.is_dir():
        return Folder(path, split)
    if path.suffix.lower() != ".zip":
        raise UsageError(
            f"{path.name} can't be sent: a server takes zips and folders. Annotations lie in its own folder of sets."
        )
    if split:
        raise UsageError(f"{path.name} is sent whole: unpack it, and name the folder of {split}.")
    return Zip(path)


class Form:
    """A multipart body with the options as fields and the set as its file."""

    def __init__(self, options: Mapping[str, Any], parcel: Parcel, tell: Callable[[int, int], None]) -> None:
        """`tell` hears how many bytes of how many were sent."""
        self._options = options
        self._parcel = parcel
        self._tell = tell
        self._boundary = secrets.token_hex(16)

    @property
    def content_type(self) -> str:
        """With the boundary."""
        return f"multipart/form-data; boundary={self._boundary}"

    async def body(self) -> AsyncIterator[bytes]:
        """In pieces. Raises what the parcel raises."""
        for name, value in self._options.items():
            yield self._head(name) + b"\r\n" + _field(value).encode() + b"\r\n"
        yield self._head("dataset", '; filename="set.zip"') + b"Content-Type: application/zip\r\n\r\n"
        sent = 0
        parts = self._parcel.parts()
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            data, read = part
            sent += read
            yield data
            self._tell(sent, self._parcel.size)
        yield f"\r\n--{self._boundary}--\r\n".encode()

    def _head(self, name: str, more: str = "") -> bytes:
        return f'--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'.encode()


def _field(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict | bool) else str(value)

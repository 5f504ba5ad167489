"""Sets that lie on storage elsewhere, whole: a zip or a folder of class folders behind an address, through fsspec."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from models.class_folders import IMAGE_SUFFIXES
from models.errors import DatasetError, ImageTooLarge, UnreadableImage
from service.errors import UnknownDataset
from service.scoring.addresses import WEB, check_address
from service.scoring.jobs import Task
from service.scoring.sources import MAX_ENTRIES, Source, ZipSource, arranged


def opened_zip(address: str, split: str | None, prefix: str, allowed: Sequence[str]) -> ZipSource:
    """A zip that is read in place, piece by piece. Raises `UnknownDataset` or `DatasetError`."""
    storage, path = _storage(address, allowed)
    try:
        opened = storage.open(path, "rb")
    except Exception as exc:  # whatever a storage's client raises
        raise DatasetError(f"{address} can't be opened ({type(exc).__name__}: {exc}).") from exc
    try:
        return ZipSource(opened, split, prefix, PurePosixPath(urlsplit(address).path).name)
    except DatasetError:
        opened.close()
        raise
    except Exception as exc:  # as above
        opened.close()
        raise DatasetError(f"{address} can't be read ({type(exc).__name__}: {exc}).") from exc


class StorageFolder(Source):
    """Class folders on storage."""

    parallel = 16

    def __init__(self, address: str, split: str | None, prefix: str, allowed: Sequence[str]) -> None:
        """Raises `UnknownDataset`."""
        self._name = address
        self._split = split
        self.prefix = prefix
        self._storage, path = _storage(address, allowed)
        self._root = path.rstrip("/")

    def tasks(self) -> list[Task]:
        try:
            found = self._storage.find(self._root)
        except Exception as exc:  # as above
            raise DatasetError(f"{self._name} can't be listed ({type(exc).__name__}: {exc}).") from exc
        files = [path.removeprefix(f"{self._root}/") for path in found if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES]
        if len(files) > MAX_ENTRIES:
            raise DatasetError(f"{self._name} holds more than {MAX_ENTRIES:,} images. Score it in parts.")
        self.prefix, tasks = arranged(self._name, files, self._split)
        return tasks

    def read(self, image: str, max_bytes: int) -> bytes:
        try:
            with self._storage.open(f"{self._root}/{self.prefix}{image}", "rb") as file:
                data: bytes = file.read(max_bytes + 1)
        except Exception as exc:  # as above
            raise UnreadableImage(f"{image} can't be read ({type(exc).__name__}: {exc}).") from exc
        if len(data) > max_bytes:
            raise ImageTooLarge(f"{image} has more than {max_bytes:,} bytes (PARALLAX_MAX_BODY_BYTES).")
        return data


def _storage(address: str, allowed: Sequence[str]) -> tuple[Any, str]:
    """What reads an address that may be read, and the path there."""
    import fsspec

    check_address(address, allowed)
    if urlsplit(address).scheme in WEB:  # where its client would follow redirects to anywhere
        raise UnknownDataset(f"{address} is a web page's address: zips and folders are read from storage alone. Download it.")
    try:
        storage, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as exc:  # it says what to install
        raise UnknownDataset(f"{address} can't be read here: {exc}") from exc
    return storage, str(path)

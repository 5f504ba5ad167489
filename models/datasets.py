"""Labelled images from zips and folders of class folders.

A source is a path to a zip or a folder, optionally followed by `#SPLIT` where it holds several (`seg_train`, `seg_test`, ...).
Zips are read in place and never unpacked, so a crafted member name has nowhere to go; a member's size is bounded.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar

from models.archives import DAMAGED, files_of, open_zip
from models.class_folders import images_of
from models.errors import DatasetError
from models.imaging import Limits
from models.metadata import DataFile, file_sha256

Item = TypeVar("Item")

LIMITS = Limits(max_bytes=64_000_000, max_pixels=100_000_000)
"""Of one image in a training or test set: a guard against accidents and crafted zips; large photographs are welcome."""
MAX_FILES = 10_000_000
"""Of a zip: whoever trains knows what it is."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a data set: where it stands, what it shows, and its encoded bytes."""

    path: str
    """Class folder and file name, such as `sea/20072.jpg`."""
    label: str
    data: bytes


class Dataset(ABC):
    """An open source: iterate for its images, in the order of their paths. Close it, or use it as a context manager."""

    def __init__(self, name: str, paths: Sequence[PurePosixPath]) -> None:
        """`paths` are all image files of one split, each under its class folder."""
        self.name = name
        self._paths = sorted(paths)

    @property
    def labels(self) -> list[str]:
        """Names of the class folders, sorted."""
        return sorted({path.parent.name for path in self._paths})

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[LabelledImage]:
        for path in self._paths:
            yield LabelledImage(f"{path.parent.name}/{path.name}", path.parent.name, self._read(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def facts(self) -> DataFile:
        """Name, digest and number of images, for a model's card."""
        return DataFile(name=self.name, sha256=self.sha256(), images=len(self))

    @abstractmethod
    def sha256(self) -> str:
        """Digest of the zip, or of a folder's relative paths and contents."""

    @abstractmethod
    def _read(self, path: PurePosixPath) -> bytes: ...

    def close(self) -> None:
        """Give back what the source holds open."""


class _ZipDataset(Dataset):
    def __init__(self, path: Path, split: str | None) -> None:
        self._file = path
        self._zip = open_zip(path, str(path), MAX_FILES)
        try:
            self._members = {PurePosixPath(info.filename): info for info in files_of(self._zip, str(path), MAX_FILES)}
            super().__init__(path.name, images_of(path.name, self._members, split)[1])
        except DatasetError:
            self._zip.close()
            raise

    def sha256(self) -> str:
        return file_sha256(self._file)

    def _read(self, path: PurePosixPath) -> bytes:
        member = self._members[path]
        if member.file_size > LIMITS.max_bytes:
            raise DatasetError(f"{self.name}: {path} has more than {LIMITS.max_bytes:,} bytes")
        try:
            return self._zip.read(member)
        except DAMAGED as exc:
            raise DatasetError(f"{self.name}: {path} can't be read: {exc}") from exc

    def close(self) -> None:
        self._zip.close()


class _FolderDataset(Dataset):
    def __init__(self, root: Path, split: str | None) -> None:
        self._root = root
        files = [PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*") if path.is_file()]
        super().__init__(root.resolve().name, images_of(root.name, files, split)[1])

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for path in self._paths:
            digest.update(f"{path}\0{hashlib.sha256(self._read(path)).hexdigest()}\n".encode())
        return digest.hexdigest()

    def _read(self, path: PurePosixPath) -> bytes:
        file = self._root / path
        try:
            if file.stat().st_size > LIMITS.max_bytes:
                raise DatasetError(f"{file} has more than {LIMITS.max_bytes:,} bytes")
            return file.read_bytes()
        except OSError as exc:
            raise DatasetError(f"{file} can't be read: {exc}") from exc


def open_dataset(source: str) -> Dataset:
    """Open a zip or a folder of class folders, `PATH` or `PATH#SPLIT`. Raises `DatasetError`."""
    name, _, split = source.partition("#")
    if not name:
        raise DatasetError("the name of a source is empty")
    path = Path(name).expanduser()
    if path.is_dir():
        return _FolderDataset(path, split or None)
    if path.is_file():
        return _ZipDataset(path, split or None)
    raise DatasetError(f"{name} is neither a zip file nor a folder")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Group items into lists of `size`, the last one shorter, holding no more than one in memory."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch

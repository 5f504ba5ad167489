"""Labelled images from zips and folders of class folders.

A source is a path to a zip or a folder, optionally followed by `#SPLIT` where it holds several (`seg_train`, `seg_test`, ...).
Zips are read in place and never unpacked, so a crafted member name has nowhere to go; a member's size is bounded.
"""

import hashlib
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar

from models.errors import DatasetError
from models.imaging import Limits
from models.metadata import DataFile, file_sha256

Item = TypeVar("Item")

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
LIMITS = Limits(max_bytes=64_000_000, max_pixels=100_000_000)
"""Of one image in a training or test set: a guard against accidents and crafted zips; large photographs are welcome."""


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
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as exc:
            raise DatasetError(f"{path} is not a readable zip file: {exc}") from exc
        try:
            self._members = {PurePosixPath(info.filename): info for info in self._zip.infolist() if not info.is_dir()}
            super().__init__(path.name, _one_split(path, list(self._members), split))
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
        except (
            OSError,
            RuntimeError,
            zipfile.BadZipFile,
            NotImplementedError,
            zlib.error,
        ) as exc:  # encrypted, damaged or exotic
            raise DatasetError(f"{self.name}: {path} can't be read: {exc}") from exc

    def close(self) -> None:
        self._zip.close()


class _FolderDataset(Dataset):
    def __init__(self, root: Path, split: str | None) -> None:
        self._root = root
        files = [PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*") if path.is_file()]
        super().__init__(root.resolve().name, _one_split(root, files, split))

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


def _one_split(source: Path, files: Sequence[PurePosixPath], split: str | None) -> list[PurePosixPath]:
    """Choose the image files of one split: those whose class folders share one parent. Raises `DatasetError`."""
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not is_litter(path)]
    if not images:
        raise DatasetError(f"{source} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    stray = next((path for path in images if len(path.parts) < 2), None)
    if stray is not None:
        raise DatasetError(f"{source}: {stray} stands in no class folder; expected CLASS/IMAGE, such as sea/1.jpg")
    roots: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in images:
        roots.setdefault(path.parent.parent, []).append(path)
    known = ", ".join(sorted(str(root) for root in roots))
    if split is not None:
        chosen = [root for root in roots if split == str(root) or split in root.parts]
        if len(chosen) != 1:
            raise DatasetError(f"{source} has {'no' if not chosen else 'more than one'} split {split!r}; it holds: {known}")
        return roots[chosen[0]]
    if len(roots) > 1:
        raise DatasetError(
            f"{source} holds several splits ({known}): name one, as in {source.name}#{min(roots).name or min(roots)}, "
            "so that nobody trains on a test set by accident"
        )
    return images


def is_litter(path: PurePosixPath) -> bool:
    """Whether a file is what systems leave lying about, and no image that anybody put there."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)

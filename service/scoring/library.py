"""The sets that can be scored: those in the folder of sets, by name, and uploaded zips, by the digest of their bytes."""

import hashlib
import os
import re
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from uuid import uuid4

from models.errors import DatasetError
from service.errors import BodyTooLarge, DatasetsFull, UnknownDataset
from service.scoring.addresses import MAX_ANNOTATIONS_BYTES, annotations, is_address, local_path
from service.scoring.annotations import AnnotationSource
from service.scoring.sources import FolderSource, Source, ZipSource
from service.scoring.storage import StorageFolder, opened_zip
from service.settings import Settings

Kind: TypeAlias = Literal["folder", "zip", "annotations", "upload"]

UPLOADED = re.compile(r"sha256:([0-9a-f]{64})(?:#(.+))?")
STALE_S = 3600.0
"""A half-written upload that has not grown for so long has nobody who writes it."""


class Found(NamedTuple):
    """A set as it is listed."""

    name: str
    kind: Kind
    bytes: int | None
    """None for a folder, whose files nobody counts for a list."""
    expires: float | None = None
    """Of an uploaded one, when it is deleted unless it is used, in seconds since the epoch."""


@dataclass(frozen=True)
class Where:
    """A set that is there, and what kind it is."""

    name: str
    kind: Kind
    path: Path | None
    """None for what lies elsewhere."""
    split: str | None = None


class Library:
    """Every method blocks: call them on a thread."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is written before the first upload."""
        self._root = settings.datasets_dir
        self._allowed = settings.datasets_allow
        self._folder = settings.data_dir / "datasets"
        self._max_bytes = settings.max_dataset_bytes
        self._quota = settings.datasets_quota_bytes
        self._keep_s = settings.datasets_keep_h * 3600

    def listed(self) -> list[Found]:
        """What can be named, in order."""
        here = []
        if self._root is not None and self._root.is_dir():
            for path in sorted(self._root.iterdir()):
                with suppress(OSError, UnknownDataset):
                    kind = _kind(local_path(self._root, path.name))
                    if kind and not path.name.startswith("."):
                        here.append(Found(path.name, kind, None if kind == "folder" else path.stat().st_size))
        return here + [
            Found(f"sha256:{path.stem}", "upload", path.stat().st_size, path.stat().st_mtime + self._keep_s)
            for path in sorted(self._folder.glob("*.zip"))
        ]

    def find(self, name: str) -> Where:
        """What a name means. Raises `UnknownDataset`."""
        if uploaded := UPLOADED.fullmatch(name):
            path = self._folder / f"{uploaded[1]}.zip"
            if not path.is_file():
                raise UnknownDataset(f"There is no uploaded set {name}, or not any more. Upload it again.")
            os.utime(path)  # its time to live begins anew
            return Where(name, "upload", path, uploaded[2])
        if is_address(name):
            return _elsewhere(name)
        if self._root is None:
            raise UnknownDataset(
                "PARALLAX_DATASETS_DIR is not set: only uploaded sets have names (GET /v1/datasets lists them). "
                "Upload a zip in a form instead."
            )
        file, _, split = name.partition("#")
        path = local_path(self._root, file)
        kind = _kind(path)
        if kind is None:
            raise UnknownDataset(f"{file[:200]!a} is neither a folder nor a .zip nor a .jsonl file.")
        return Where(name, kind, path, split or None)

    def open(self, where: Where, prefix: str = "") -> Source:
        """Open a set. Raises `UnknownDataset` or `DatasetError`."""
        if where.kind == "annotations":
            return AnnotationSource(where.name, self._lines(where), self._root, self._allowed)
        if where.path is None:
            address = where.name.partition("#")[0]
            if where.kind == "folder":
                return StorageFolder(address, where.split, prefix, self._allowed)
            return opened_zip(address, where.split, prefix, self._allowed)
        if where.kind == "folder":
            return FolderSource(where.path, where.split, prefix)
        return ZipSource(where.path, where.split, prefix, where.name)

    def reopen(self, dataset: dict[str, Any]) -> Source:
        """The source of a job that was begun, whose images are known. Raises as `find` and `open` do."""
        where = self.find(dataset["name"])
        if where.kind == "annotations":
            return AnnotationSource(where.name, b"", self._root, self._allowed)
        return self.open(where, dataset["prefix"])

    def forget(self, name: str) -> None:
        """Delete an uploaded set."""
        if uploaded := UPLOADED.fullmatch(name):
            (self._folder / f"{uploaded[1]}.zip").unlink(missing_ok=True)

    def receive(self, in_use: Collection[str]) -> "Upload":
        """Begin to take an upload. Deletes those whose time is over, but for those `in_use`. Raises `DatasetsFull`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep(in_use)
        if (size := held(self._folder)) >= self._quota:
            raise DatasetsFull(f"Uploaded sets hold {size:,} of {self._quota:,} bytes (PARALLAX_DATASETS_QUOTA_BYTES).")
        return Upload(self._folder, self._max_bytes, self._quota)

    def _sweep(self, in_use: Collection[str]) -> None:
        moment = time.time()
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                age = moment - path.stat().st_mtime
                over = age > (STALE_S if path.suffix == ".part" else self._keep_s)
                if over and f"sha256:{path.stem}" not in in_use:
                    path.unlink()

    def _lines(self, where: Where) -> bytes:
        if where.path is None:
            return annotations(where.name, self._allowed)
        if where.path.stat().st_size > MAX_ANNOTATIONS_BYTES:
            raise DatasetError(f"{where.name} has more than {MAX_ANNOTATIONS_BYTES:,} bytes. Score it in parts.")
        return where.path.read_bytes()


class Upload:
    """A zip that arrives: written beside the others, and renamed to its digest when it is whole."""

    def __init__(self, folder: Path, max_bytes: int, quota: int) -> None:
        """`quota`: of all sets in the folder, those that arrive at the same time among them."""
        self._folder = folder
        self._path = folder / f"{uuid4().hex}.part"
        self._file = self._path.open("wb")
        self._digest = hashlib.sha256()
        self._max_bytes = max_bytes
        self._quota = quota
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add some bytes. Raises `BodyTooLarge` or `DatasetsFull`, which a full disk is too."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise BodyTooLarge(
                f"A set may have {self._max_bytes:,} bytes at most (PARALLAX_MAX_DATASET_BYTES). Score it in parts."
            )
        if held(self._folder) + len(data) > self._quota:
            raise DatasetsFull("The quota of uploaded sets (PARALLAX_DATASETS_QUOTA_BYTES) has no room for this one.")
        try:
            self._file.write(data)
            self._file.flush()  # so that its size tells
        except OSError as exc:
            raise DatasetsFull(f"The zip can't be written to the data folder: {exc.strerror}.") from exc
        self._digest.update(data)

    def keep(self) -> str:
        """Make it a set. Returns its name."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._digest.hexdigest()}.zip"))
        except OSError as exc:
            raise DatasetsFull(f"The zip can't be written to the data folder: {exc.strerror}.") from exc
        return f"sha256:{self._digest.hexdigest()}"

    def drop(self) -> None:
        """Delete it, unless it was kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def held(folder: Path) -> int:
    """Bytes of the sets in a folder, half-written ones too."""
    sizes = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return sum(sizes)


def _elsewhere(name: str) -> Where:
    """What an address leads to: a zip or a folder by how it ends, else annotations."""
    address, _, split = name.partition("#")
    path = urlsplit(address).path
    if path.lower().endswith(".zip"):
        return Where(name, "zip", None, split or None)
    if path.endswith("/") or (split and not path.lower().endswith(".jsonl")):
        return Where(name, "folder", None, split or None)
    return Where(name, "annotations", None)


def _kind(path: Path) -> Kind | None:
    if path.is_dir():
        return "folder"
    kinds: dict[str, Kind] = {".zip": "zip", ".jsonl": "annotations"}
    return kinds.get(path.suffix.lower()) if path.is_file() else None

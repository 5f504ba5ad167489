"""Where a job's images come from: a zip or a folder. Opened anew by each process that works on the job.

Zips are read in place and never unpacked. What is crafted or broken about a whole set is refused when it is listed, with the
name at fault; what is wrong with one image is that image's error.
"""

import stat
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import IO

from models.datasets import IMAGE_SUFFIXES, is_litter
from models.errors import DatasetError, ImageTooLarge, SeveralSets, UnreadableImage
from service.scoring.jobs import LONGEST_PATH, Task

MAX_ENTRIES = 100_000
"""Images of a set, and files of a zip."""
MAX_DIRECTORY_BYTES = 20_000_000
"""Of a zip's list of files, known before it is read: with `MAX_ENTRIES`, names of 150 characters on average."""

END, END_BYTES = b"PK\x05\x06", 22
LOCATOR, LOCATOR_BYTES = b"PK\x06\x07", 20
END64_BYTES = 56
LONGEST_END = END_BYTES + 65_535
"""With the longest comment."""


class Source(ABC):
    """Lists images and reads them, on any thread."""

    parallel = 1
    """Reads that pay off side by side."""
    prefix = ""
    """What stands before the path of each image: the folder of the class folders."""

    @abstractmethod
    def tasks(self) -> list[Task]:
        """All images, with the names of their class folders, or None for images that stand in none. Raises `DatasetError`."""

    @abstractmethod
    def read(self, image: str, max_bytes: int) -> bytes:
        """The encoded bytes. Raises `UnreadableImage` or `ImageTooLarge`."""

    def close(self) -> None:
        """Give back what it holds open."""


class FolderSource(Source):
    """Class folders on disk. A link is followed only to what is inside."""

    def __init__(self, root: Path, split: str | None = None, prefix: str = "") -> None:
        """`split`: part of the path of the class folders, where there are several. `prefix`: as found before."""
        self._root = root.resolve()
        self._split = split
        self.prefix = prefix

    def tasks(self) -> list[Task]:
        files = []
        for path in self._root.rglob("*"):
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                files.append(path.relative_to(self._root).as_posix())
                if len(files) > MAX_ENTRIES:
                    raise DatasetError(f"{self._root.name} holds more than {MAX_ENTRIES:,} images. Score it in parts.")
        self.prefix, tasks = arranged(self._root.name, files, self._split)
        return tasks

    def read(self, image: str, max_bytes: int) -> bytes:
        path = (self._root / self.prefix / image).resolve()
        if not path.is_relative_to(self._root):
            raise UnreadableImage(f"{image} is a link to a place outside its set.")
        try:
            if path.stat().st_size > max_bytes:
                raise _too_large(image, max_bytes)
            return path.read_bytes()
        except OSError as exc:
            raise UnreadableImage(f"{image} can't be read: {exc.strerror or exc}") from exc


class ZipSource(Source):
    """Class folders in a zip."""

    def __init__(self, path: Path | IO[bytes], split: str | None = None, prefix: str = "", name: str | None = None) -> None:
        """`path`: or a file that was opened already, which belongs to this from now on, and its `name`.

        Raises `DatasetError` if it is none, or not one to be trusted.
        """
        self._name = name or (path.name if isinstance(path, Path) else "The zip")
        self._split = split
        self.prefix = prefix
        self._file = None if isinstance(path, Path) else path
        try:
            with path.open("rb") if isinstance(path, Path) else nullcontext(path) as file:
                _check_directory(file, self._name)
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, struct.error, NotImplementedError) as exc:
            raise DatasetError(f"{self._name} is not a zip file that can be read: {exc}") from exc

    def tasks(self) -> list[Task]:
        members = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(members) > MAX_ENTRIES:
            raise DatasetError(f"{self._name} holds {len(members):,} files, more than {MAX_ENTRIES:,}. Score it in parts.")
        for info in members:
            self._check(info)
        twice = [name for name, count in Counter(info.filename for info in members).items() if count > 1]
        if twice:
            raise DatasetError(f"{self._name} holds {_quoted(twice[0])} more than once: which one counts?")
        images = [info.filename for info in members if PurePosixPath(info.filename).suffix.lower() in IMAGE_SUFFIXES]
        self.prefix, tasks = arranged(self._name, images, self._split)
        return tasks

    def read(self, image: str, max_bytes: int) -> bytes:
        try:
            info = self._zip.getinfo(self.prefix + image)
            if info.file_size > max_bytes:
                raise _too_large(image, max_bytes)
            with self._zip.open(info) as member:
                data = member.read(max_bytes + 1)  # whatever its header says
        except KeyError:
            raise UnreadableImage(f"{image} is not in the zip any more.") from None
        except (OSError, RuntimeError, zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError) as exc:
            raise UnreadableImage(f"{image} can't be read: {exc}") from exc  # damaged, or packed in an exotic way
        if len(data) > max_bytes:
            raise _too_large(image, max_bytes)
        return data

    def close(self) -> None:
        self._zip.close()
        if self._file is not None:
            self._file.close()

    def _check(self, info: zipfile.ZipInfo) -> None:
        path = PurePosixPath(info.filename)
        # The zip is never unpacked; who makes such names means harm all the same, or lost a path on the way.
        if path.is_absolute() or ".." in path.parts or "\\" in info.orig_filename or ":" in (path.parts or ("",))[0]:
            raise DatasetError(f"{self._name}: {_quoted(info.filename)} leads out of the zip. Pack it anew with relative names.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DatasetError(f"{self._name}: {_quoted(info.filename)} is a link. Pack the images themselves.")
        if info.flag_bits & 1:
            raise DatasetError(f"{self._name}: {_quoted(info.filename)} is encrypted. Pack it without a password.")
        if path.suffix.lower() == ".zip":
            raise DatasetError(f"{self._name} holds another zip, {_quoted(info.filename)}. Unpack it, and pack the images alone.")


def arranged(name: str, files: Iterable[str], split: str | None) -> tuple[str, list[Task]]:
    """Tasks of image files by their paths, in order: class folders at the top, under one wrapper, or under the split's folder.

    Returns the path of the class folders, empty or ending with a slash, and the tasks below it.

    Raises `DatasetError` for no image, for several splits of which none is named, and for names that nobody should have to show.
    """
    paths = sorted(path for path in map(PurePosixPath, files) if not is_litter(path))
    if split:
        inside = [path for path in paths if split in (str(path.parent.parent), *path.parent.parent.parts)]
        if not inside:
            raise DatasetError(f"{name} has no split {split!r}; it holds: {_roots(paths)}.")
        paths = inside
    if not paths:
        raise DatasetError(f"{name} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    for path in paths:
        if not str(path).isprintable() or len(str(path)) > LONGEST_PATH:
            raise DatasetError(f"{name}: the name {_quoted(str(path))} has unprintable characters, or more than {LONGEST_PATH}.")
    if len({path.parent for path in paths}) == 1 and len(paths[0].parts) == 1:
        return "", [Task(str(path), None) for path in paths]
    stray = next((path for path in paths if len(path.parts) == 1), None)
    if stray is not None:
        raise DatasetError(f"{name}: {stray} stands beside the class folders, in none of them; expected CLASS/IMAGE.")
    if len({path.parent.parent for path in paths}) > 1:
        raise SeveralSets(
            f"{name} holds several sets ({_roots(paths)}). Name one, as in {name}#{paths[0].parent.parent.name or 'SPLIT'}."
        )
    root = "".join(f"{part}/" for part in paths[0].parent.parent.parts)
    return root, [Task(f"{path.parent.name}/{path.name}", path.parent.name) for path in paths]


def _roots(paths: Sequence[PurePosixPath]) -> str:
    roots = sorted({str(path.parent.parent) for path in paths})
    return ", ".join(roots[:8]) + (", ..." if len(roots) > 8 else "") or "nothing"


def _quoted(name: str) -> str:
    """A name that may be hostile, for a message."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _too_large(image: str, max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"{image} has more than {max_bytes:,} bytes (PARALLAX_MAX_BODY_BYTES).")


def _check_directory(file: IO[bytes], name: str) -> None:
    """Look at how long the list of files is before zipfile reads all of it into memory (APPNOTE.TXT 4.3.14 to 4.3.16).

    Several records can claim to say it: zipfile takes one, and the largest claim of all counts here.
    """
    size = file.seek(0, 2)
    start = file.seek(max(0, size - LONGEST_END))
    tail = file.read()
    ends = [place for place in {len(tail) - END_BYTES, tail.rfind(END)} if place >= 0 and tail[place:].startswith(END)]
    if not ends:
        raise zipfile.BadZipFile("it has no list of files at its end, as if it were cut off")
    claims = [struct.unpack("<HI", tail[place + 10 : place + 16]) for place in ends]
    for place in ends:
        locator = start + place - LOCATOR_BYTES
        if locator < 0:
            continue
        file.seek(locator)
        record = file.read(LOCATOR_BYTES)
        if record.startswith(LOCATOR):
            for at in (locator - END64_BYTES, struct.unpack("<Q", record[8:16])[0]):
                if 0 <= at <= size - END64_BYTES:
                    file.seek(at)
                    claims.append(struct.unpack("<QQ", file.read(END64_BYTES)[32:48]))
    # A short form says "all bits set" where only the long one has room; folders have entries too.
    real = [(entries, length) for entries, length in claims if entries != 0xFFFF and length != 0xFFFFFFFF]
    if any(entries > 2 * MAX_ENTRIES or length > MAX_DIRECTORY_BYTES for entries, length in real):
        raise DatasetError(f"{name} lists more files than the {MAX_ENTRIES:,} that a set may have. Score it in parts.")

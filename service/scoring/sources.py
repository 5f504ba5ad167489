"""Where a job's images come from: a zip or a folder. Opened anew by each process that works on the job.

Zips are read in place and never unpacked. What is crafted or broken about a whole set is refused when it is listed, with the
name at fault; what is wrong with one image is that image's error.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from models.archives import DAMAGED, MAX_FILES, files_of, open_zip, plain_member, quoted
from models.class_folders import IMAGE_SUFFIXES, images_of
from models.errors import DatasetError, ImageTooLarge, ParallaxError, UnreadableImage
from service.scoring.jobs import LONGEST_PATH, Task

MAX_ENTRIES = MAX_FILES
"""Images of a set, and files of a zip."""


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
        self._failures: tuple[type[Exception], ...] = (
            DAMAGED if self._file is None else (Exception,)
        )  # whatever a storage's client raises
        self._zip = open_zip(path, self._name, MAX_ENTRIES)
        self._members = {str(PurePosixPath(info.filename)): info for info in self._zip.infolist()}
        self._lock = threading.Lock()

    def tasks(self) -> list[Task]:
        files = [info.filename for info in files_of(self._zip, self._name, MAX_ENTRIES)]
        self.prefix, tasks = arranged(self._name, files, self._split)
        return tasks

    def read(self, image: str, max_bytes: int) -> bytes:
        try:
            info = self._members[self.prefix + image]
            if info.file_size > max_bytes:
                raise _too_large(image, max_bytes)
            data = None if self._file else plain_member(self._zip, info)
            if data is None:
                with self._lock, self._zip.open(info) as member:  # pictures of it may be asked for at the same time
                    data = member.read(max_bytes + 1)  # whatever its header says
        except KeyError:
            raise UnreadableImage(f"{image} is not in the zip any more.") from None
        except ParallaxError:
            raise
        except self._failures as exc:
            raise UnreadableImage(f"{image} can't be read: {exc}") from exc
        if len(data) > max_bytes:
            raise _too_large(image, max_bytes)
        return data

    def close(self) -> None:
        self._zip.close()
        if self._file is not None:
            self._file.close()


def arranged(name: str, files: Iterable[str], split: str | None) -> tuple[str, list[Task]]:
    """What stands before the path of each image, empty or ending with a slash, and the tasks, in order.

    Raises `DatasetError` as `images_of`, and for names that nobody should have to show.
    """
    root, paths = images_of(name, map(PurePosixPath, files), split, loose=True)
    for path in paths:
        if not str(path).isprintable() or len(str(path)) > LONGEST_PATH:
            raise DatasetError(f"{name}: the name {quoted(str(path))} has unprintable characters, or more than {LONGEST_PATH}.")
    tasks = [Task(str(path.relative_to(root)), path.parent.name or None) for path in paths]
    return "".join(f"{part}/" for part in root.parts), tasks


def _too_large(image: str, max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"{image} has more than {max_bytes:,} bytes (PARALLAX_MAX_BODY_BYTES).")

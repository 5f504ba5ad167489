"""A set as a JSONL file: a line `{"image_url": ..., "label": ...}` an image, as labelling tools and the article write them."""

import json
from collections.abc import Sequence
from pathlib import Path

from models.errors import DatasetError, ImageTooLarge, UnreadableImage
from service.errors import UnknownDataset
from service.scoring.addresses import check_address, fetch, is_address, local_path
from service.scoring.jobs import LONGEST_PATH, Task
from service.scoring.sources import MAX_ENTRIES, Source


class AnnotationSource(Source):
    """Images by address, or by path in the folder of sets."""

    parallel = 16

    def __init__(self, name: str, lines: bytes, root: Path | None, allowed: Sequence[str]) -> None:
        """`root`: the folder that paths are relative to, if any may be read. `allowed`: what addresses must begin with."""
        self._name = name
        self._lines = lines
        self._root = root
        self._allowed = allowed

    def tasks(self) -> list[Task]:
        found: dict[str, Task] = {}
        for number, line in enumerate(self._lines.splitlines(), 1):
            if not line.strip():
                continue
            task = self._task(number, line)
            if task.image in found:
                raise DatasetError(f"{self._name}, line {number}: {task.image!a} stands there twice.")
            found[task.image] = task
            if len(found) > MAX_ENTRIES:
                raise DatasetError(f"{self._name} has more than {MAX_ENTRIES:,} lines. Score it in parts.")
        if not found:
            raise DatasetError(f'{self._name} has no line like {{"image_url": "sea/1.jpg", "label": "sea"}}.')
        labelled = [task.label is not None for task in found.values()]
        if any(labelled) and not all(labelled):
            raise DatasetError(f"{self._name} has labels on some lines and none on others.")
        return list(found.values())

    def read(self, image: str, max_bytes: int) -> bytes:
        try:
            if is_address(image):
                check_address(image, self._allowed)
                return fetch(image, max_bytes)
            path = self._path(image)
        except UnknownDataset as exc:
            raise UnreadableImage(str(exc)) from exc
        try:
            if path.stat().st_size > max_bytes:
                raise ImageTooLarge(f"{image} has more than {max_bytes:,} bytes (PARALLAX_MAX_BODY_BYTES).")
            return path.read_bytes()
        except OSError as exc:
            raise UnreadableImage(f"{image} can't be read: {exc.strerror or exc}") from exc

    def _task(self, number: int, line: bytes) -> Task:
        where = f"{self._name}, line {number}"
        try:
            entry = json.loads(line)
        except ValueError as exc:
            raise DatasetError(f"{where} is no JSON: {exc}") from None
        image = entry.get("image_url") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(image, str) or not image or len(image) > LONGEST_PATH or not image.isprintable():
            raise DatasetError(f"{where} has no `image_url` of at most {LONGEST_PATH} printable characters.")
        if not isinstance(label, str | None) or (label is not None and not label.isprintable()):
            raise DatasetError(f"{where}: `label` is no word.")
        try:
            if is_address(image):
                check_address(image, self._allowed)
            elif self._root is None or Path(image).is_absolute() or ".." in Path(image).parts:
                raise UnknownDataset(f"{image!a} is no path inside the folder of sets.")
        except UnknownDataset as exc:
            raise DatasetError(f"{where}: {exc}") from exc
        return Task(image, label or None)

    def _path(self, image: str) -> Path:
        if self._root is None:
            raise UnknownDataset(f"{image!a} is a path, and there is no folder of sets (PARALLAX_DATASETS_DIR).")
        return local_path(self._root, image)

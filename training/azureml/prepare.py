"""Labelled images -> prepared data (`layout.py`), with the cut of `training/data.py`."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from models.class_folders import IMAGE_SUFFIXES
from models.datasets import LIMITS, Dataset, LabelledImage, open_dataset
from models.errors import DatasetError, ImageError, UsageError
from models.headers import sniff
from models.metadata import InputSpec
from models.portable import portable
from training.azureml.layout import (
    IMAGES,
    RECORD,
    SPLITS,
    UNFINISHED,
    Record,
    Request,
    Split,
    annotations,
    images_in,
    read_record,
    write_table,
)
from training.data import Advance, TrainingSet
from training.data import prepare as cut

SUFFIX = {"JPEG": ".jpg", "PNG": ".png"}
ANY_SIZE = InputSpec(height=8, width=8)
"""Images are told apart by what they show at their own size; nobody looks at the small pixels that the cut keeps."""

Progress = Callable[[str, int], Advance]


def prepare(
    sources: Sequence[str],
    out: Path,
    *,
    test: Sequence[str] = (),
    excluded: Sequence[str] = (),
    left_out: Sequence[str] = (),
    skip_unreadable: bool = False,
    progress: Progress = lambda _text, _total: lambda: None,
) -> Record:
    """Write prepared data into `out`, or find it there already. Images that also stand in a test or excluded set are dropped.

    Files that Azure's AutoML might read otherwise than we do (turned by EXIF, transparent, WebP, GIF, ...) are encoded anew.
    Raises `DatasetError` for the data, `UsageError` if `out` holds something else.
    """
    with ExitStack() as stack:
        sources, test, excluded = expanded(sources), expanded(test), expanded(excluded)
        sets, tests, others = ([stack.enter_context(open_dataset(one)) for one in group] for group in (sources, test, excluded))
        request = Request(
            sources=[one.facts() for one in sets],
            test=[one.facts() for one in tests],
            excluded=[one.facts() for one in others],
            left_out=sorted(left_out),
            skip_unreadable=skip_unreadable,
        )
        before = read_record(out)
        if before is not None and before.request == request:
            return before
        _make_room(out)
        data = _cut(sources, [*test, *excluded], out, request, progress)
        wanted: dict[int, Split] = dict.fromkeys(map(int, data.train), "train")
        wanted |= dict.fromkeys(map(int, data.validation), "validation")
        writer = _Writer(out / IMAGES)
        advance = progress("write", len(wanted))
        for row, image in enumerate(image for one in sets for image in one):
            if row in wanted:
                writer.write(wanted[row], image, image.data)
                advance()
        test_images = _write_tests(writer, tests, skip_unreadable, progress)
    images = images_in(out)
    for split in images:
        write_table(out / split, annotations(images, split, f"../{IMAGES}"))
    record = Record(
        request=request, labels=data.labels, counts=data.counts, test_images=test_images, sha256=writer.digest.hexdigest()
    )
    (out / RECORD).write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (out / UNFINISHED).unlink()
    return record


def expanded(sources: Sequence[str]) -> list[str]:
    """The sources, where a folder that holds zips and no images stands for its zips."""
    found: list[str] = []
    for source in sources:
        folder = Path(source).expanduser()
        zips = sorted(str(path) for path in folder.glob("*.zip") if path.is_file()) if folder.is_dir() else []
        images = bool(zips) and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.rglob("*"))
        found += zips if zips and not images else [source]
    return found


def _cut(sources: Sequence[str], excluded: Sequence[str], out: Path, request: Request, progress: Progress) -> TrainingSet:
    pixels = out / "pixels.npy"
    try:
        return cut(
            sources,
            excluded,
            ANY_SIZE,
            pixels,
            left_out=request.left_out,
            skip_unreadable=request.skip_unreadable,
            progress=progress,
        )
    finally:
        pixels.unlink(missing_ok=True)


def _make_room(out: Path) -> None:
    """Take away what an earlier or unfinished preparation left; anything else stays, and is refused."""
    out.mkdir(parents=True, exist_ok=True)
    ours = (out / RECORD).exists() or (out / UNFINISHED).exists()
    if any(out.iterdir()) and not ours:
        raise UsageError(f"{out} holds other things; name a folder that is empty or new")
    (out / UNFINISHED).touch()
    (out / RECORD).unlink(missing_ok=True)
    for folder in (IMAGES, *SPLITS):
        shutil.rmtree(out / folder, ignore_errors=True)


def _write_tests(writer: "_Writer", tests: Sequence[Dataset], skip_unreadable: bool, progress: Progress) -> int:
    count, unreadable = 0, []
    advance = progress("write the test set", sum(map(len, tests))) if tests else lambda: None
    for image in (image for one in tests for image in one):
        try:
            writer.write("test", image, image.data)
            count += 1
        except ImageError as exc:
            unreadable.append(f"{image.path}: {exc}")
        advance()
    if unreadable and not skip_unreadable:
        raise DatasetError("\n  ".join(["unreadable test images (--skip-unreadable goes on without them):", *unreadable[:20]]))
    return count


class _Writer:
    """Writes images under names that are free, and keeps the digest of it all."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.digest = hashlib.sha256()

    def write(self, split: Split, image: LabelledImage, data: bytes) -> None:
        """Write one image. Raises `ImageError` if it can't be decoded."""
        data = portable(data, LIMITS, LIMITS.max_bytes)
        place = PurePosixPath(split, image.path).with_suffix(SUFFIX[sniff(data)])
        folder = self._root / place.parent
        if folder.parent != self._root / split or not image.label.strip("."):
            raise DatasetError(f"{image.path} stands in no class folder")
        folder.mkdir(parents=True, exist_ok=True)
        path = next(path for path in _names(folder / place.name) if not path.exists())
        path.write_bytes(data)
        relative = path.relative_to(self._root).as_posix()
        self.digest.update(f"{relative}\0{hashlib.sha256(data).hexdigest()}\n".encode())


def _names(path: Path) -> Iterator[Path]:
    yield path
    number = 2
    while True:
        yield path.with_stem(f"{path.stem}-{number}")
        number += 1

"""Which files of a zip or a folder are labelled images: those in class folders, at the root or under one wrapper folder."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from models.errors import DatasetError, SeveralSets

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
SHOWN = 8
"""Sets that a message names."""


def images_of(
    name: str, files: Iterable[PurePosixPath], split: str | None, *, loose: bool = False
) -> tuple[PurePosixPath, list[PurePosixPath]]:
    """The folder of the class folders, and the image files below it, in order.

    `split`: a part of that folder's path, or all of it, where there are several. `loose`: images may stand in no folder at all,
    if all of them do; they have no label. Raises `DatasetError`; `SeveralSets` if there are several and none is named.
    """
    images = sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not _is_litter(path))
    if not images:
        raise DatasetError(f"{name} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if loose and all(len(path.parts) == 1 for path in images) and not split:
        return PurePosixPath(), images
    roots: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in images:
        roots.setdefault(path.parent.parent, []).append(path)
    named = sorted(roots) if split is None else [root for root in sorted(roots) if split in (str(root), *root.parts)]
    known = ", ".join(map(str, sorted(roots)[:SHOWN])) + (", ..." if len(roots) > SHOWN else "")
    if split is not None and len(named) != 1:
        raise DatasetError(f"{name} has {'more than one' if named else 'no'} split {split!r}; it holds: {known}")
    stray = next((path for root in named for path in roots[root] if len(path.parts) == 1), None)
    if stray is not None:
        raise DatasetError(f"{name}: {stray} stands in no class folder; expected CLASS/IMAGE, such as sea/1.jpg")
    if len(named) > 1:
        raise SeveralSets(
            f"{name} holds several sets ({known}): name one, as in {name}#{named[0].name or named[0]}, "
            "so that nobody takes one for another by accident"
        )
    return named[0], roots[named[0]]


def _is_litter(path: PurePosixPath) -> bool:
    """Whether a file is what systems leave lying about, and no image that anybody put there."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)

"""A project's tagged images, as class folders on this disk: what a successor is trained with."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from models.datasets import LIMITS as READ_LIMITS
from models.errors import ImageError, UsageError
from models.files import written_whole
from models.headers import Format, sniff
from training.customvision import projects
from training.customvision.client import Service
from training.customvision.download import Downloads
from training.customvision.parallel import in_parallel
from training.customvision.projects import Entity, Tag
from training.customvision.survey import Problem

Several: TypeAlias = Literal["leave-out", "each"]
"""What becomes of an image with several tags: left out and reported, or put into every one's folder."""

SUFFIXES: Mapping[Format, str] = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif"}
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10))})
"""Names that Windows has for devices."""

RECORD = "pulled.json"
PASS = 1024
"""Images at a time: the permission to fetch them, which comes with their addresses, does not last."""


@dataclass
class Pulled:
    """What is there now."""

    images: int = 0
    fetched: int = 0
    """Of them, those that were not there before."""
    several: list[str] = field(default_factory=list)
    """Ids of images with several tags that were left out."""
    problems: list[Problem] = field(default_factory=list)


def pull(
    service: Service,
    project: Entity,
    out: Path,
    *,
    several: Several = "leave-out",
    workers: int = 8,
    step: Callable[[int], None] = lambda _count: None,
) -> Pulled:
    """Bring a project's images into OUT/TAG/ID.jpg, those that are there already excepted, and describe them in pulled.json.

    Raises `UsageError` if the folder holds another project's.
    """
    tags = projects.tags(service, project)
    folders = folder_names(tags)
    record = {"project": project.id, "name": project.name, "folders": {tag.name: folders[tag.id] for tag in tags}}
    _begin(out, project, record)
    result = Pulled()
    downloads = Downloads(workers)

    def fetch(image: Entity) -> Problem | int:
        """How many files came of it."""
        places = [out / folders[tag.tag_id] for tag in image.tags if tag.tag_id in folders]
        missing = [place for place in places if not any((place / f"{image.id}{suffix}").exists() for suffix in SUFFIXES.values())]
        if not missing:
            return 0
        try:
            address = image.original_image_uri or image.resized_image_uri or ""
            data = downloads.small(address, READ_LIMITS.max_bytes, f"the image {image.id}")
            suffix = SUFFIXES[sniff(data)]
        except (UsageError, ImageError) as exc:
            return Problem(image.id, str(exc))
        for place in missing:
            _write(place / f"{image.id}{suffix}", data)
        return len(missing)

    try:
        for batch in _passes(service, project):
            chosen = [image for image in batch if len(image.tags) == 1 or several == "each"]
            result.several += [image.id for image in batch if len(image.tags) > 1 and several != "each"]
            step(len(batch) - len(chosen))
            for outcome in in_parallel(fetch, chosen, workers):
                if isinstance(outcome, Problem):
                    result.problems.append(outcome)
                else:
                    result.images += 1
                    result.fetched += outcome > 0
                step(1)
    finally:
        downloads.close()
    _write(out / RECORD, _text(record | {"images": result.images, "several_tags_left_out": result.several}))
    return result


def folder_names(tags: Sequence[Tag]) -> Mapping[str, str]:
    """Names for the folders of tags, by their ids, that every file system takes, keeps apart, and none reads as a path."""
    names: dict[str, str] = {}
    taken: set[str] = {RECORD}
    for tag in tags:
        name = "".join(one if one.isalnum() or one in "-_ ().,'&+" else "_" for one in tag.name).strip(" .")[:100].rstrip(" .")
        if not name or name.lower().split(".")[0] in RESERVED:
            name = f"tag_{name}".rstrip("_")
        if name.lower() in taken:
            name = f"{name}_{tag.id[:8]}"
        taken.add(name.lower())
        names[tag.id] = name
    return names


def _passes(service: Service, project: Entity) -> Iterator[list[Entity]]:
    """Images by the hundreds. What was added since the tags were listed waits for the next pull."""
    batch: list[Entity] = []
    for image in projects.images(service, project, tagged=True):
        batch.append(image)
        if len(batch) == PASS:
            yield batch
            batch = []
    yield batch


def _begin(out: Path, project: Entity, record: Mapping[str, object]) -> None:
    file = out / RECORD
    if file.exists():
        try:
            before = json.loads(file.read_text(encoding="utf-8")).get("project")
        except (OSError, ValueError, AttributeError):
            before = None
        if before != project.id:
            raise UsageError(f"{out} holds images of another project ({before or 'unknown'}): choose another --out")
    elif out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty, and nothing in it says that it is {project.name}: choose another --out")
    _write(file, _text(record))


def _text(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, indent=1, ensure_ascii=False).encode()


def _write(path: Path, data: bytes) -> None:
    with written_whole(path) as file:
        file.write(data)

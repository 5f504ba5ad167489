"""Class folders into a project: in batches, by a few threads, and nothing twice, however often it was interrupted.

An image is known by the SHA-256 of what was sent. The service does not tell names or digests of what it holds, so a journal on
this disk says which of its ids is which image. Ids that the journal does not know (batches that arrived while this program
was killed, another machine's, the portal's) are looked at: their files are fetched and their digests compared. What can't be
recognised that way is sent, and the service's own check for copies holds (`OKDuplicate`).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.custom_vision_limits import MAX_BATCH, MAX_BATCH_BYTES, MAX_BATCH_TAGS, Tier
from models.datasets import LIMITS as READ_LIMITS
from models.errors import UsageError
from training.customvision import projects
from training.customvision.client import Service, ServiceError
from training.customvision.download import Downloads
from training.customvision.journal import Journal
from training.customvision.parallel import in_parallel
from training.customvision.projects import Entity
from training.customvision.survey import Problem, Ready, Survey, check_tier, ready

FULL = frozenset({"ErrorLimitExceed", "ErrorTagLimitExceed"})
PASSING = frozenset({"ErrorStorage", "ErrorUnknown"})
"""Statuses of an image that the next attempt may not have."""

REASONS = {
    "ErrorSource": "The service could not read it.",
    "ErrorImageFormat": "The service takes it for no image.",
    "ErrorImageSize": "It is too large for the service.",
    "ErrorImageDimensions": "The service does not take images of this shape.",
    "ErrorNegativeAndRegularTagOnSameImage": "It is there already, under the negative tag.",
}


@dataclass
class Upload:
    """What came of one."""

    project: Entity
    created: bool
    present: int = 0
    """Images that were there before."""
    sent: int = 0
    duplicates: int = 0
    """Of those that were sent, the ones that the service had already."""
    problems: list[Problem] = field(default_factory=list)


def upload(
    service: Service,
    name: str,
    sources: Sequence[str],
    found: Survey,
    folder: Path,
    *,
    domain: str | None = None,
    tier: Tier = "S0",
    workers: int = 4,
    step: Callable[[int], None] = lambda _count: None,
) -> Upload:
    """Bring the images of a survey into a project, made if need be. `folder`: for journals. `step`: told how many are there.

    Raises `UsageError` for what the tier can't hold, `ServiceError` when going on is no use; what was sent until then is known.
    """
    labels = sorted(set(found.labels.values()))
    check_tier(tier, len(found.labels), len(labels), name)
    project, created = projects.ensure(service, name, domain)
    result = Upload(project, created, problems=list(found.problems))
    with Journal(folder / project.id / "upload.jsonl") as journal:
        held = {} if created else {one.id: one for one in projects.images(service, project)}
        present = _present(held, found, journal, workers)
        known = {tag.name for tag in ([] if created else projects.tags(service, project))}
        check_tier(tier, len(held) + len(found.labels.keys() - present.keys()), len(known | set(labels)), name)
        tags = projects.ensure_tags(service, project, labels)
        for digest, image in present.items():
            if found.labels[digest] not in _names(held[image]):
                where = ", ".join(_names(held[image])) or "no tag"
                result.problems.append(Problem(f"{found.labels[digest]}/{digest[:12]}", f"It is there already, under {where}."))
        result.present = len(present)
        step(len(present))
        outstanding = {digest: label for digest, label in found.labels.items() if digest not in present}

        def send(batch: Sequence[Ready]) -> list[tuple[Ready, str, str | None]]:
            outcomes = _send(service, project.id, tags, batch)
            sent = [(one, status, image) for one, status, image in outcomes if status.startswith("OK")]
            journal.write(
                *({"sha256": one.sha256, "path": one.path, "image": image, "status": status} for one, status, image in sent)
            )
            if full := next((status for _, status, _ in outcomes if status in FULL), None):
                raise UsageError(f"{project.name} takes no more images ({full}); what was sent is kept, the rest is not there")
            return outcomes

        for outcomes in in_parallel(send, _batches(ready(sources, outstanding)), workers):
            for one, status, _ in outcomes:
                if status.startswith("OK"):
                    result.sent += 1
                    result.duplicates += status == "OKDuplicate"
                else:
                    result.problems.append(Problem(one.path, REASONS.get(status, f"The service answered {status}.")))
            step(len(outcomes))
    return result


def _present(held: dict[str, Entity], found: Survey, journal: Journal, workers: int) -> dict[str, str]:
    """Ids of the images of a survey that the project holds, by digest."""
    of_id = {str(record.get("image")): str(record.get("sha256")) for record in journal.records()}
    strangers = [one for one in held.values() if one.id not in of_id]
    missing = found.labels.keys() - {of_id[image] for image in held if image in of_id}
    if strangers and missing:
        downloads = Downloads(workers)

        def recognise(image: Entity) -> None:
            try:
                data = downloads.small(image.original_image_uri or "", READ_LIMITS.max_bytes, f"the image {image.id}")
            except UsageError:
                return  # then it is sent, and the service says that it knows it
            of_id[image.id] = hashlib.sha256(data).hexdigest()
            journal.write({"sha256": of_id[image.id], "image": image.id, "status": "Found"})

        try:
            for _ in in_parallel(recognise, strangers, workers):
                pass
        finally:
            downloads.close()
    return {of_id[image]: image for image in held if image in of_id and of_id[image] in found.labels}


def _send(
    service: Service, project: str, tags: Mapping[str, str], batch: Sequence[Ready], *, last: bool = False
) -> list[tuple[Ready, str, str | None]]:
    """Status and id of each image of a batch. Those with a passing fault are sent once more."""
    from azure.cognitiveservices.vision.customvision.training.models import ImageFileCreateBatch, ImageFileCreateEntry

    entries = [ImageFileCreateEntry(name=one.sha256, contents=one.data, tag_ids=[tags[one.label]]) for one in batch]
    create = service.client.create_images_from_files
    try:
        summary = service.call(f"sending {len(batch)} images", create, project, ImageFileCreateBatch(images=entries))
    except ServiceError as exc:
        if exc.status != 413 and not exc.code.startswith("BadRequestImage"):
            raise
        if len(batch) == 1:
            return [(batch[0], exc.code or str(exc.status), None)]
        half = len(batch) // 2  # one of them is at fault, and the answer does not say which
        return _send(service, project, tags, batch[:half]) + _send(service, project, tags, batch[half:])
    outcomes = _outcomes(batch, summary.images or [])
    passing = [one for one, status, _ in outcomes if status in PASSING]
    if not passing or last:
        return outcomes
    return [one for one in outcomes if one[1] not in PASSING] + _send(service, project, tags, passing, last=True)


def _outcomes(batch: Sequence[Ready], results: Sequence[Any]) -> list[tuple[Ready, str, str | None]]:
    """Which result is whose: by the name that was given, else by the order."""
    named = {one.source_url: one for one in results}
    if not all(one.sha256 in named for one in batch):
        if len(results) != len(batch):
            return [(one, "an answer about other images", None) for one in batch]
        named = {one.sha256: result for one, result in zip(batch, results, strict=True)}
    return [(one, str(named[one.sha256].status), named[one.sha256].image and named[one.sha256].image.id) for one in batch]


def _batches(images: Iterable[Ready]) -> Iterator[list[Ready]]:
    batch: list[Ready] = []
    for image in images:
        size, labels = sum(len(one.data) for one in batch), {one.label for one in batch} | {image.label}
        if batch and (len(batch) == MAX_BATCH or size + len(image.data) > MAX_BATCH_BYTES or len(labels) > MAX_BATCH_TAGS):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def _names(image: Entity) -> list[str]:
    return sorted(tag.tag_name for tag in image.tags or [])

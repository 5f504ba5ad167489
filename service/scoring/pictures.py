"""A job's images, as small as they are looked at, and its report with those that it shows. All of it blocks."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from typing import TypeAlias

from models.errors import ParallaxError
from models.imaging import Limits
from models.scoring.results import Scoring
from service.scoring.jobs import Job
from service.scoring.shelf import Shelf

Draw: TypeAlias = Callable[[Scoring, Iterable[tuple[str, bytes]], Limits], str]
"""Results, the encoded images that are shown, by name, and what one may cost -> an HTML file."""


def report(shelf: Shelf, limits: Limits, job: Job, found: Scoring, draw: Draw) -> str:
    """One HTML file; images that can't be had any more are left out."""
    with closing(_images(shelf, limits, job, found)) as images:  # whoever fails with images left gives the set back too
        return draw(found, images, limits)


def thumbnail_of(shelf: Shelf, limits: Limits, job: Job, image: str) -> bytes:
    """A small JPEG of one image. Raises `ImageError`, `UnknownDataset` or `DatasetError`."""
    from models.scoring.thumbnails import thumbnail

    with shelf.borrowed(job.dataset) as source:
        data = source.read(image, limits.max_bytes)
    return thumbnail(data, limits)


def _images(shelf: Shelf, limits: Limits, job: Job, found: Scoring) -> Generator[tuple[str, bytes], None, None]:
    with suppress(ParallaxError), shelf.borrowed(job.dataset) as source:
        for image in found.galleries.images:
            with suppress(ParallaxError):
                yield image, source.read(image, limits.max_bytes)

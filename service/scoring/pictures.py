"""A job's images, as small as they are looked at, and its report with those that it shows. All of it blocks."""

from models.errors import ParallaxError
from models.imaging import Limits
from models.scoring.results import Scoring
from service.scoring.jobs import Job
from service.scoring.shelf import Shelf


def report(shelf: Shelf, limits: Limits, job: Job, found: Scoring) -> str:
    """One HTML file; images that can't be had any more are left out."""
    from models.scoring.report import render

    def picture(image: str) -> bytes | None:
        try:
            return thumbnail_of(shelf, limits, job, image)
        except ParallaxError:
            return None

    return render(found, picture)


def thumbnail_of(shelf: Shelf, limits: Limits, job: Job, image: str) -> bytes:
    """A small JPEG of one image. Raises `ImageError`, `UnknownDataset` or `DatasetError`."""
    from models.scoring.thumbnails import thumbnail

    with shelf.borrowed(job.dataset) as source:
        data = source.read(image, limits.max_bytes)
    return thumbnail(data, limits)

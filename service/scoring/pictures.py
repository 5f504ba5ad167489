"""A job's images, as small as they are looked at, and its report with those that it shows. All of it blocks."""

from models.errors import ParallaxError
from models.imaging import Limits
from models.scoring.results import Scoring
from service.scoring.jobs import Job
from service.scoring.library import Library


def report(library: Library, limits: Limits, job: Job, found: Scoring) -> str:
    """One HTML file; where the set is gone, without pictures."""
    from models.scoring.report import render
    from models.scoring.thumbnails import thumbnail

    try:
        source = library.reopen(job.dataset)
    except ParallaxError:
        return render(found, lambda _image: None)

    def picture(image: str) -> bytes | None:
        try:
            return thumbnail(source.read(image, limits.max_bytes), limits)
        except ParallaxError:
            return None

    try:
        return render(found, picture)
    finally:
        source.close()


def thumbnail_of(library: Library, limits: Limits, job: Job, image: str) -> bytes:
    """A small JPEG of one image. Raises `ImageError`, `UnknownDataset` or `DatasetError`."""
    from models.scoring.thumbnails import thumbnail

    source = library.reopen(job.dataset)
    try:
        data = source.read(image, limits.max_bytes)
    finally:
        source.close()
    return thumbnail(data, limits)

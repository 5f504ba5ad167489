"""What of an image is sent to the service: the file itself where it takes it, else one encoded anew."""

from models import imaging
from models.custom_vision_limits import MAX_ASPECT, MAX_SIDE
from models.datasets import LIMITS as READ_LIMITS
from models.errors import ImageTooLarge
from models.portable import portable

TAKEN = frozenset({"JPEG", "PNG", "BMP", "GIF"})


def fitted(data: bytes, max_bytes: int) -> bytes:
    """A file that the service takes, of at most `max_bytes`: the same in every run. Raises `ImageError` for what is no picture.

    A file that goes as it is was looked at by its header only; whether the rest is whole, the service tells.
    """
    header = imaging.check(data, READ_LIMITS)
    longer, shorter = max(header.width, header.height), min(header.width, header.height)
    if longer > MAX_ASPECT * shorter:
        raise ImageTooLarge(f"The image is {header.width} x {header.height} pixels; the service takes up to {MAX_ASPECT} to 1.")
    if header.kind in TAKEN and len(data) <= max_bytes and longer <= MAX_SIDE:
        return data
    return portable(data, READ_LIMITS, max_bytes)

"""What of an image is handed to others: the file itself, where every decoder sees the same picture in it."""

import io

from PIL import ExifTags, Image

from models import imaging
from models.headers import DECODER_ERRORS, Header, open_pillow

MAX_SIDE = 1024
"""Of an image that is encoded anew. No classifier looks at more."""

LOSSLESS_PIXELS = 90_000
"""Up to here an image that is encoded anew stays what it was; a PNG of a larger photograph is many times a JPEG."""


def portable(data: bytes, limits: imaging.Limits, max_bytes: int, max_side: int | None = None) -> bytes:
    """Make of an encoded image one that any decoder reads as `imaging.decode` does, in at most `max_bytes` (10,000 or more).

    Its bits are decoded in any case: a broken one is refused here. A JPEG or PNG that is upright, opaque and has 8 bits of grey
    or RGB goes as it is, if it is small enough and no side is above `max_side` pixels; others become a PNG or, if they are
    large, a JPEG of at most `MAX_SIDE` pixels a side. Raises `ImageError`.
    """
    header = imaging.check(data, limits)
    fits = len(data) <= max_bytes and (max_side is None or max(header.width, header.height) <= max_side)
    if fits and imaging.plain_jpeg(data, header):
        return data
    pixels = imaging.decode_checked(data, header, limits)
    if fits and _unmistakable(data, header):
        return data
    image = Image.fromarray(pixels)
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
    if image.width * image.height <= LOSSLESS_PIXELS and len(encoded := _encoded(image, "PNG")) <= max_bytes:
        return encoded
    while len(encoded := _encoded(image, "JPEG")) > max_bytes:
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BICUBIC)
    return encoded


def _unmistakable(data: bytes, header: Header) -> bool:
    if header.kind not in ("JPEG", "PNG"):
        return False
    try:
        with open_pillow(data, header.kind) as image:
            upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            return upright and image.mode in ("RGB", "L") and not image.has_transparency_data
    except DECODER_ERRORS:  # a damaged EXIF block: another decoder may stumble where ours did not
        return False


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return buffer.getvalue()

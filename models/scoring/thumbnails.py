"""Small pictures for reports and pages."""

import io

from PIL import Image

from models import imaging

SIDE = 168
QUALITY = 72


def thumbnail(data: bytes, limits: imaging.Limits = imaging.DEFAULT_LIMITS) -> bytes:
    """An encoded image as a JPEG whose longer side has at most `SIDE` pixels. Raises `ImageError`."""
    image = Image.fromarray(imaging.decode(data, limits))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()

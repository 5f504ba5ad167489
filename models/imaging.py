"""Encoded image bytes -> uint8 RGB pixels of a model's input size.

Training and service both read images through `load`, so a model never meets pixels in production that were prepared otherwise
than those it learnt from. JPEG goes through libjpeg-turbo (simplejpeg; the same pixels as Pillow in half the time), the rest
through Pillow. Limits are checked on the header, before a pixel is decoded.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, ImageOps

from models.errors import EmptyImage, ImageTooLarge, ImageTooSmall
from models.headers import DECODER_ERRORS, Format, Header, broken, open_pillow, read_header
from models.metadata import InputSpec

Pixels: TypeAlias = npt.NDArray[np.uint8]

MIN_SIDE = 8
"""Pixels. A spacer or a tracking pixel holds nothing to classify, yet any classifier would name a class for it."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What an image may cost before it is decoded."""

    max_bytes: int = 6_000_000
    max_pixels: int = 25_000_000


DEFAULT_LIMITS = Limits()


def load(data: bytes, spec: InputSpec, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Decode one encoded image and resize it to the model's input.

    Returns a C-contiguous uint8 array [spec.height, spec.width, 3], RGB. Raises `ImageError`.
    """
    return resize(decode(data, limits), spec)


def resize(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Stretch uint8 RGB [H,W,3] to [spec.height, spec.width, 3], antialiased, in Pillow's integer arithmetic."""
    if pixels.shape[:2] == (spec.height, spec.width):
        return pixels
    resized = Image.fromarray(pixels).resize((spec.width, spec.height), _RESAMPLING[spec.resize])
    return np.asarray(resized)


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Decode one encoded image at its own size, upright (EXIF), alpha over white, first frame of an animation.

    Returns a C-contiguous uint8 array [H,W,3], RGB. Raises `ImageError`.
    """
    return decode_checked(data, check(data, limits), limits)


def check(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Header:
    """Hold an encoded image against the limits by its header alone, in microseconds. Raises `ImageError`."""
    if not data:
        raise EmptyImage("There are no bytes. Send the image file itself as the body.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"The image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted.")
    header = read_header(data)
    _hold_against(limits, header.width, header.height)
    return header


def decode_checked(data: bytes, header: Header, limits: Limits = DEFAULT_LIMITS, out: Pixels | None = None) -> Pixels:
    """What `decode` does once `check` has given the header.

    `out` [H,W,3], C-contiguous and of the size that the header states, is where a JPEG's pixels go if they can: whoever hands
    it in looks whether what is returned lies there.
    """
    if header.turbo:
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
        except (ValueError, KeyError):
            pass  # half a file, or a harmless oddity such as stray bytes between markers: Pillow tells which
        else:
            return _upright(pixels, data) if _may_be_turned(data) else pixels
    return _decode_pillow(data, header.kind, limits)


def plain_jpeg(data: bytes, header: Header) -> bool:
    """Whether this is a whole JPEG, grey or in colour, that nothing turns: what `decode` and any other decoder read alike.

    Its bits are read to the end, yet no pixel of it is made, which spares a third of the time. False: it may be one all the same.
    """
    if not header.turbo or _may_be_turned(data):
        return False
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=1)
    except (ValueError, KeyError):
        return False
    return True


def _may_be_turned(data: bytes) -> bool:
    return b"Exif\x00\x00" in data or b"tiff:Orientation" in data


def _upright(pixels: Pixels, data: bytes) -> Pixels:
    """Turn decoded JPEG pixels as the orientation in EXIF or XMP (TIFF tag 274, values 1 to 8) asks."""
    try:
        with open_pillow(data, "JPEG") as header:
            orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODER_ERRORS:
        return pixels  # a damaged EXIF block says nothing about the picture itself
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_pillow(data: bytes, kind: Format, limits: Limits) -> Pixels:
    try:
        with open_pillow(data, kind) as image:
            _hold_against(limits, *image.size)  # a frame may be larger than the file's first header says
            image.load()
            return _to_rgb(_turned(image))
    except DECODER_ERRORS as exc:
        raise broken(kind) from exc


def _turned(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DECODER_ERRORS:
        return image  # a damaged EXIF block says nothing about the picture itself


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey: 65535 = 255 * 257, and Pillow's own conversion clips instead
        wide = np.asarray(image).astype(np.int64)
        grey = ((wide.clip(0, 65535) + 128) // 257).astype(np.uint8)
        grey[wide == image.info.get("transparency", -1)] = 255
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "white")
        image.alpha_composite(layer)
    return np.asarray(image.convert("RGB"))


def _hold_against(limits: Limits, width: int, height: int) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"The image is {width} x {height} pixels; at most {limits.max_pixels:,} pixels are accepted.")
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmall(f"The image is {width} x {height} pixels; each side must have at least {MIN_SIDE}.")

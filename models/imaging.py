"""Encoded image bytes -> uint8 RGB pixels of a model's input size.

Training and service both read images through `load`, so a model never meets pixels in production that were prepared otherwise
than those it learnt from. JPEG goes through libjpeg-turbo (simplejpeg; the same pixels as Pillow in half the time), the rest
through Pillow. Limits are checked on the header, before a pixel is decoded.
"""

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, ImageOps

from models.errors import BrokenImage, EmptyImage, ImageTooLarge, ImageTooSmall, UnsupportedImage
from models.metadata import InputSpec

Pixels: TypeAlias = npt.NDArray[np.uint8]
Format: TypeAlias = Literal["JPEG", "PNG", "WEBP", "BMP", "GIF"]

MIN_SIDE = 8
"""Pixels. A spacer or a tracking pixel holds nothing to classify, yet any classifier would name a class for it."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

DECODER_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, OverflowError, TypeError, struct.error)
"""Pillow's decoders raise all of these on damaged input."""

# Pillow's own limit stands behind ours, for what it might allocate as it opens a file; ours is never higher.
Image.MAX_IMAGE_PIXELS = 100_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)


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
    kind, _ = check(data, limits)
    return _decode_jpeg(data, limits) if kind == "JPEG" else _decode_pillow(data, kind, limits)


def check(data: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Format, int]:
    """Hold an encoded image against the limits by its header alone, in microseconds.

    Returns its format and number of pixels. Raises `ImageError`.
    """
    if not data:
        raise EmptyImage("There are no bytes. Send the image file itself as the body.")
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"The image has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted.")
    kind = sniff(data)
    width, height = size(data, kind)
    _hold_against(limits, width, height)
    return kind, width * height


def sniff(data: bytes) -> Format:
    """Tell the format from the first bytes. Raises `UnsupportedImage`."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    raise UnsupportedImage("These bytes are not an image that Parallax reads. Send a JPEG, PNG, WebP, BMP or GIF file.")


def size(data: bytes, kind: Format) -> tuple[int, int]:
    """Width and height as the file's header states them, in microseconds and without decoding. Raises `BrokenImage`."""
    try:
        if kind == "JPEG":
            return _jpeg_size(data)
        if kind == "PNG":  # W3C PNG specification, 11.2.1: IHDR comes first
            return _fields(">II", data, 16)
        if kind == "GIF":  # GIF89a specification, 18: logical screen descriptor
            return _gif_size(data)
        if kind == "BMP":  # BITMAPCOREHEADER has 16-bit sides, all later headers signed 32-bit ones
            if _fields("<II", data, 14)[0] == 12:
                return _fields("<HH", data, 18)
            width, height = _fields("<ii", data, 18)
            return abs(width), abs(height)
        return _webp_canvas(data)
    except DECODER_ERRORS as exc:
        raise _broken(kind) from exc


def _jpeg_size(data: bytes) -> tuple[int, int]:
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # samplings that simplejpeg has no name for
        with _open(data, "JPEG") as image:
            return image.size
    return width, height


def _decode_jpeg(data: bytes, limits: Limits) -> Pixels:
    try:
        if simplejpeg.decode_jpeg_header(data)[2] in ("CMYK", "YCCK"):
            return _decode_pillow(data, "JPEG", limits)  # Pillow knows Adobe's inverted inks
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB")
    except (ValueError, KeyError):
        # Half a file, a rare sampling, or a harmless oddity such as stray bytes between markers: Pillow tells which.
        return _decode_pillow(data, "JPEG", limits)
    if b"Exif\x00\x00" in data or b"tiff:Orientation" in data:
        return _upright(pixels, data)
    return pixels


def _upright(pixels: Pixels, data: bytes) -> Pixels:
    """Turn decoded JPEG pixels as the orientation in EXIF or XMP (TIFF tag 274, values 1 to 8) asks."""
    try:
        with _open(data, "JPEG") as header:
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
        with _open(data, kind) as image:
            _hold_against(limits, *image.size)  # a frame may be larger than the file's first header says
            image.load()
            return _to_rgb(_turned(image))
    except DECODER_ERRORS as exc:
        raise _broken(kind) from exc


def _open(data: bytes, kind: Format) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=[kind])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ImageTooLarge(f"The image has more than {Image.MAX_IMAGE_PIXELS:,} pixels.") from exc


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


def _gif_size(data: bytes) -> tuple[int, int]:
    """Of the screen or of the first frame, which may reach beyond it: Pillow makes room for a frame as it opens a GIF."""
    width, height = _fields("<HH", data, 6)
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # an extension: label, then blocks that each state their length, up to an empty one
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    if data[at] != 0x2C:
        return width, height
    left, top, wide, high = struct.unpack_from("<HHHH", data, at + 1)
    return max(width, left + wide), max(height, top + high)


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """From the first chunk (WebP container specification, RFC 9649). Pillow allocates the canvas as soon as it opens a WebP."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = _fields("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _fields(layout: str, data: bytes, offset: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, data, offset)
    return first, second


def _hold_against(limits: Limits, width: int, height: int) -> None:
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"The image is {width} x {height} pixels; at most {limits.max_pixels:,} pixels are accepted.")
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmall(f"The image is {width} x {height} pixels; each side must have at least {MIN_SIDE}.")


def _broken(kind: Format) -> BrokenImage:
    return BrokenImage(f"The {kind} file is truncated or corrupt. Send the whole file.")

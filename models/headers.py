"""What an image file says of itself before it is decoded: its format and its size, read in microseconds.

Decompression bombs are refused on these numbers, so each is the largest that a decoder would make room for.
"""

import io
import struct
import warnings
from typing import Literal, NamedTuple, TypeAlias

import simplejpeg
from PIL import Image

from models.errors import BrokenImage, ImageTooLarge, UnsupportedImage

Format: TypeAlias = Literal["JPEG", "PNG", "WEBP", "BMP", "GIF"]

DECODER_ERRORS = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, OverflowError, TypeError, struct.error)
"""Pillow's decoders raise all of these on damaged input."""


# Pillow's own limit stands behind ours, for what it might allocate as it opens a file; ours is never higher.
Image.MAX_IMAGE_PIXELS = 100_000_000
warnings.simplefilter("error", Image.DecompressionBombWarning)


_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""Start of a frame that libjpeg decodes: baseline, extended, progressive."""

_COLOURS = frozenset({1, 3})
"""Components of grey and colour. Four are CMYK or YCCK, which Adobe inverts, as Pillow knows; two are nobody's."""

_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""What may come before it, each with its length: Huffman and quantisation tables, restart interval, comments, applications'."""


class Header(NamedTuple):
    """Format, sides in pixels before any EXIF turn, and whether libjpeg-turbo makes RGB of it."""

    kind: Format
    width: int
    height: int
    turbo: bool = False

    @property
    def pixels(self) -> int:
        """What decoding has to make."""
        return self.width * self.height


def read_header(data: bytes) -> Header:
    """Read what the first bytes tell. Raises `UnsupportedImage` or `BrokenImage`."""
    kind = sniff(data)
    try:
        if kind == "JPEG":
            return _jpeg(data)
        return Header(kind, *_size(data, kind))
    except DECODER_ERRORS as exc:
        raise broken(kind) from exc


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


def open_pillow(data: bytes, kind: Format) -> Image.Image:
    """Pillow's view of a file, of which no pixel is decoded yet. Raises `ImageTooLarge` and `DECODER_ERRORS`."""
    try:
        return Image.open(io.BytesIO(data), formats=[kind])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise ImageTooLarge(f"The image has more than {Image.MAX_IMAGE_PIXELS:,} pixels.") from exc


def broken(kind: Format) -> BrokenImage:
    """What a caller is told of a file that does not decode."""
    return BrokenImage(f"The {kind} file is truncated or corrupt. Send the whole file.")


def _jpeg(data: bytes) -> Header:
    """From the start-of-frame marker (ITU T.81, B.1 and B.2), if the file is as the book has it up to there.

    Where anything is out of order, libjpeg itself is asked, so that it and this function never see two different frames. It
    is not asked in every case, because each call gives up Python's lock, and waits for it among the threads of a busy service.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and len(data) >= at + 10:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            if length != 8 + 3 * components or not height or not width:
                break
            return Header("JPEG", width, height, turbo=components in _COLOURS)
        if marker not in _SEGMENTS or length < 2:
            break
        at += 2 + length
    return _jpeg_by_libjpeg(data)


def _jpeg_by_libjpeg(data: bytes) -> Header:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # samplings that simplejpeg has no name for
        with open_pillow(data, "JPEG") as image:
            return Header("JPEG", *image.size)
    return Header("JPEG", width, height, turbo=colours not in ("CMYK", "YCCK"))


def _size(data: bytes, kind: Format) -> tuple[int, int]:
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

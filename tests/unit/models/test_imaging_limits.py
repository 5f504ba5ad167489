"""What `imaging` refuses by the header alone, and what becomes of damaged files: pixels or an `ImageError`, nothing else."""

import struct
import zlib
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import simplejpeg
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from models import imaging
from models.datasets import LIMITS
from models.errors import BrokenImage, EmptyImage, ImageError, ImageTooLarge, ImageTooSmall, UnsupportedImage
from models.headers import Format
from models.imaging import Limits
from tests.support.images import encode, encoded, exif, picture

SMALL = Limits(max_bytes=1_000_000, max_pixels=100_000)
FORMATS = get_args(Format)

MAGIC = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "WEBP": b"RIFF\x24\0\0\0WEBP",
    "GIF": b"GIF89a",
    "BMP": b"BM",
}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ihdr(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def png(width: int, height: int) -> bytes:
    return MAGIC["PNG"] + ihdr(width, height) + chunk(b"IDAT", zlib.compress(bytes(50_000))) + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    return encoded("GIF", 64, 48).replace(struct.pack("<HH", 64, 48), struct.pack("<HH", width, height))  # screen and frame


def bmp(width: int, height: int) -> bytes:
    return encoded("BMP")[:18] + struct.pack("<ii", width, height) + encoded("BMP")[26:]


def core_bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIHHHH", 26, 0, 26, 12, width, height, 1, 24)


def jpeg(width: int, height: int) -> bytes:
    data = encoded("JPEG")
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]


def rare(data: bytes, sampling: int) -> bytes:
    """A JPEG whose first component has another sampling than Pillow gives it."""
    at = data.index(b"\xff\xc0") + 11
    return data[:at] + bytes([sampling]) + data[at + 1 :]


def webp(width: int, height: int) -> bytes:
    data = encoded("WEBP")
    return data[:26] + struct.pack("<HH", width, height) + data[30:]


def lossless_webp(width: int, height: int) -> bytes:
    data = encoded("WEBP", lossless=True)
    (bits,) = struct.unpack_from("<I", data, 21)
    return data[:21] + struct.pack("<I", bits & 0xF0000000 | height - 1 << 14 | width - 1) + data[25:]


def extended_webp(width: int, height: int) -> bytes:
    data = encoded("WEBP", exif=exif(1))
    return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]


@pytest.fixture
def _nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was asked"))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("libjpeg was asked"))


@pytest.mark.usefixtures("_nothing_is_decoded")
@pytest.mark.parametrize(
    ("bomb", "side"),
    [
        (png, 60_000),
        (png, 2**31 - 1),
        (gif, 60_000),
        (bmp, 60_000),
        (core_bmp, 60_000),
        (jpeg, 60_000),
        (webp, 16_383),
        (lossless_webp, 16_384),
        (extended_webp, 60_000),
        (extended_webp, 65_536 + 100),
        (extended_webp, 2**24),
    ],
)
def test_a_bomb_is_refused_by_its_header(bomb: Callable[[int, int], bytes], side: int) -> None:
    data = bomb(side, side)
    assert len(data) < 20_000
    with pytest.raises(ImageTooLarge, match=f"{side} x {side} pixels; at most 25,000,000"):
        imaging.decode(data)


@pytest.mark.usefixtures("_nothing_is_decoded")
def test_a_bmp_that_is_a_bomb_upside_down_is_refused_too() -> None:
    with pytest.raises(ImageTooLarge, match="60000 x 60000"):
        imaging.decode(bmp(60_000, -60_000))


@pytest.mark.parametrize("header", [png, gif, bmp, core_bmp, jpeg, webp, lossless_webp, extended_webp])
@pytest.mark.parametrize(("width", "height"), [(500, 200), (8, 12_500)])
def test_the_pixel_cap_itself_is_still_allowed(header: Callable[[int, int], bytes], width: int, height: int) -> None:
    assert imaging.check(header(width, height), SMALL).pixels == SMALL.max_pixels
    with pytest.raises(ImageTooLarge):
        imaging.check(header(width, height + 1), SMALL)


@pytest.mark.parametrize("header", [png, gif, bmp, core_bmp, jpeg, webp, lossless_webp, extended_webp])
@pytest.mark.parametrize(("width", "height"), [(7, 100), (100, 7), (1, 1)])
def test_a_side_under_eight_pixels_is_too_small(header: Callable[[int, int], bytes], width: int, height: int) -> None:
    with pytest.raises(ImageTooSmall, match=f"{width} x {height} pixels; each side must have at least 8"):
        imaging.decode(header(width, height))
    assert imaging.check(header(8, 8)).pixels == 64


@pytest.mark.parametrize("header", [png, gif, bmp, core_bmp, jpeg])
def test_a_side_of_nothing_gives_no_pixels(header: Callable[[int, int], bytes]) -> None:
    with pytest.raises(ImageError):
        imaging.decode(header(0, 100))


@pytest.mark.parametrize("side", [6_000, 10_000, 14_000, 60_000])
@pytest.mark.parametrize("sampling", [0x14, 0x31])
def test_a_jpeg_bomb_that_turbojpeg_can_t_name_is_refused_as_one(
    side: int, sampling: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("Pillow went on to decode it"))
    with pytest.raises(ImageTooLarge):
        imaging.decode(rare(jpeg(side, side), sampling))


@pytest.mark.parametrize(
    "header", [png, gif, bmp, lambda width, height: rare(jpeg(width, height), 0x31)], ids=["png", "gif", "bmp", "rare jpeg"]
)
def test_the_caller_s_limit_counts_and_not_pillow_s_own(
    header: Callable[[int, int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: ImageFile.ImageFile) -> None:
        raise OSError("this far it came")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(BrokenImage) as raised:
        imaging.decode(header(9_990, 10_000), LIMITS)
    assert str(raised.value.__cause__) == "this far it came"


def test_a_large_jpeg_is_turned_as_a_small_one() -> None:
    data = encoded("JPEG", exif=exif(6))
    frame = data.index(b"\xff\xc0") + 5
    large = data[:frame] + struct.pack(">HH", 10_000, 9_990) + data[frame + 4 :]
    pixels = np.asarray(picture(16, 8))
    np.testing.assert_array_equal(imaging._upright(pixels, large), imaging._upright(pixels, data))


def oversized_frame() -> bytes:
    """A GIF whose only frame reaches far beyond the screen that the header states."""
    data = encode(Image.new("L", (1000, 1000)), "GIF")
    return data[:6] + struct.pack("<HH", 16, 16) + data[10:]


@pytest.mark.usefixtures("_nothing_is_decoded")
@pytest.mark.parametrize("palette", [b"", bytes(range(12))], ids=["no palette", "palette"])
def test_a_frame_beyond_its_screen_is_refused_before_pillow_makes_room_for_it(palette: bytes) -> None:
    screen = struct.pack("<HHBBB", 16, 16, 0x81 if palette else 0, 0, 0) + palette
    comment = b"\x21\xfe\x05hello\x02!!\0"
    frame = b"\x21\xf9\x04\x08\0\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 9400, 9400, 0)
    with pytest.raises(ImageTooLarge, match="9400 x 9400"):
        imaging.decode(b"GIF89a" + screen + comment + frame + b"\x02\0;")


def second_header() -> bytes:
    """A PNG that states another size once the first was read."""
    pixels = chunk(b"IDAT", zlib.compress(bytes(1001 * 1000)))
    return MAGIC["PNG"] + ihdr(16, 16) + ihdr(1000, 1000) + pixels + chunk(b"IEND", b"")


def second_frame() -> bytes:
    """A JPEG of two frame headers, the second of them large."""
    data = jpeg(1000, 1000)
    start = data.index(b"\xff\xc0")
    end = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
    small = encoded("JPEG", 16, 16)
    first = small[small.index(b"\xff\xc0") :][: end - start]
    return data[:start] + first + data[start:]


def small_canvas() -> bytes:
    """A WebP whose image is larger than its canvas."""
    data = encoded("WEBP", 1000, 1000, exif=exif(1))
    return data[:24] + (15).to_bytes(3, "little") + (15).to_bytes(3, "little") + data[30:]


@pytest.mark.parametrize("lie", [oversized_frame, second_header, second_frame, small_canvas])
def test_an_image_larger_than_its_header_says_is_never_decoded(lie: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("Pillow went on to decode it"))
    with pytest.raises(ImageError):
        imaging.decode(lie(), SMALL)


def test_no_bytes_are_an_error_of_their_own() -> None:
    with pytest.raises(EmptyImage):
        imaging.decode(b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_byte_cap_is_held_before_the_header_is_read(kind: Format) -> None:
    data = encoded(kind)
    assert imaging.decode(data, Limits(max_bytes=len(data))).shape == (48, 64, 3)
    with pytest.raises(ImageTooLarge, match=f"{len(data):,} bytes; at most {len(data) - 1:,}"):
        imaging.decode(data, Limits(max_bytes=len(data) - 1))
    with pytest.raises(ImageTooLarge, match="bytes"):
        imaging.decode(b"?" * 100, Limits(max_bytes=99))


@pytest.mark.parametrize(
    "data",
    [
        b"?",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"II*\0\x08\0\0\0",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"GIF88a",
        b'{"image": "data:image/png;base64,iVBORw0KGgo="}',
        b"\0\0\0 ftypavif",
        b" " + encoded("PNG"),
    ],
)
def test_other_files_are_not_images_that_parallax_reads(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match="JPEG, PNG, WebP, BMP or GIF"):
        imaging.decode(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_magic_number_alone_is_a_broken_image(kind: Format) -> None:
    with pytest.raises(BrokenImage, match=f"{kind} file is truncated or corrupt"):
        imaging.decode(MAGIC[kind])


def rle_bmp() -> bytes:
    """16 x 12 pixels, run-length encoded."""
    rows = b"".join(bytes([7, value, 9, 255 - value, 0, 0]) for value in range(0, 120, 10)) + b"\0\1"
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, 16, 12, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<III", 54 + 1024 + len(rows), 0, 54 + 1024) + head + palette + rows


FILES = {
    "jpeg-444": encoded("JPEG", 37, 29, subsampling="4:4:4"),
    "jpeg-420-turned": encoded("JPEG", 37, 29, subsampling="4:2:0", exif=exif(6)),
    "jpeg-progressive": encoded("JPEG", 37, 29, progressive=True),
    "jpeg-restarts": encoded("JPEG", 37, 29, restart_marker_blocks=1),
    "jpeg-grey": encoded("JPEG", 37, 29, mode="L"),
    "jpeg-cmyk": encoded("JPEG", 37, 29, mode="CMYK", exif=exif(3)),
    "png-rgba": encoded("PNG", 37, 29, mode="RGBA", exif=exif(5)),
    "png-palette": encoded("PNG", 37, 29, mode="P", transparency=7),
    "png-bilevel": encoded("PNG", 37, 29, mode="1"),
    "png-grey16": encoded("PNG", 37, 29, mode="I;16"),
    "png-animated": encode(picture(37, 29), "PNG", save_all=True, append_images=[picture(37, 29, seed=2)]),
    "webp": encoded("WEBP", 37, 29),
    "webp-lossless": encoded("WEBP", 37, 29, lossless=True),
    "webp-extended": encoded("WEBP", 37, 29, mode="RGBA", exif=exif(8)),
    "webp-animated": encode(picture(37, 29), "WEBP", save_all=True, append_images=[picture(37, 29, seed=2)]),
    "bmp": encoded("BMP", 37, 29),
    "bmp-palette": encoded("BMP", 37, 29, mode="P"),
    "bmp-runs": rle_bmp(),
    "gif": encoded("GIF", 37, 29, mode="P", transparency=3),
    "gif-plain": encoded("GIF", 37, 29, mode="L", interlace=False),
    "gif-animated": encode(picture(37, 29), "GIF", save_all=True, append_images=[picture(37, 29, seed=2)]),
}


def pixels_or_none(data: bytes) -> imaging.Pixels | None:
    """Decode; None if the image was refused. Any other exception is the test's failure."""
    try:
        pixels = imaging.decode(data, SMALL)
    except ImageError:
        return None
    height, width, channels = pixels.shape
    assert channels == 3
    assert min(height, width) >= imaging.MIN_SIDE
    assert height * width <= SMALL.max_pixels
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels


@pytest.mark.parametrize("name", FILES)
@given(where=st.integers(0, 10_000))
def test_a_cut_file_is_refused_or_gives_the_whole_picture(name: str, where: int) -> None:
    data = FILES[name]
    pixels = pixels_or_none(data[: where % len(data)])
    assert pixels is None or np.array_equal(pixels, imaging.decode(data))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("jpeg")])
def test_a_jpeg_without_its_last_block_is_refused(name: str) -> None:
    with pytest.raises(BrokenImage):
        imaging.decode(FILES[name][:-4])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good file with some bytes changed, removed or put in, more often near its start, where the headers are."""
    data = bytearray(draw(st.sampled_from(sorted(FILES.values()))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([40, 200, 100_000]))) - 1))
        how = draw(st.sampled_from(["change", "change", "flip", "remove", "insert"]))
        if how == "change":
            data[at] = draw(st.integers(0, 255))
        elif how == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "remove":
            del data[at : at + draw(st.integers(1, min(8, len(data) - 1)))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


# Pillow warns of EXIF blocks and palettes that it finds odd.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=1000)
@given(damaged())
@example(rare(FILES["jpeg-420-turned"], 0x14))
@example(rare(jpeg(60_000, 60_000), 0x14))
@example(oversized_frame())
def test_a_damaged_file_gives_pixels_or_an_image_error(data: bytes) -> None:
    pixels_or_none(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=500)
@given(st.sampled_from(sorted(MAGIC.values())), st.binary(max_size=400))
def test_any_bytes_behind_a_magic_number_give_pixels_or_an_image_error(magic: bytes, data: bytes) -> None:
    pixels_or_none(magic + data)


@given(st.binary(max_size=400))
def test_any_bytes_at_all_give_an_image_error(data: bytes) -> None:
    assert pixels_or_none(data) is None

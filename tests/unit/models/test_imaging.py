"""`imaging.decode` and `resize`: the same pixels as Pillow, upright, over white, first frame."""

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from models import imaging
from models.headers import read_header
from models.imaging import Pixels
from models.metadata import InputSpec
from tests.support.images import Kind, encode, encoded, exif, picture, plain

Options: TypeAlias = dict[str, Any]
"""Of `encoded` and of Pillow."""

XMP_TURN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def pillow(data: bytes) -> Pixels:
    """What Pillow makes of an opaque image, upright."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def over_white(layer: Image.Image) -> Pixels:
    """The definition: colour times alpha plus white times the rest."""
    pixels = np.asarray(layer).astype(np.float64)
    alpha = pixels[:, :, 3:] / 255
    return np.rint(pixels[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def assert_same(pixels: Pixels, expected: npt.NDArray[np.uint8]) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, expected)


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def png(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], transparent: bytes = b"") -> bytes:
    """A PNG of grey [H,W] or RGB [H,W,3] at 8 or 16 bits, which Pillow can't all write."""
    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, pixels.itemsize * 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(f">u{pixels.itemsize}").tobytes() for row in pixels)
    chunks = [(b"IHDR", head), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
        if data or kind == b"IEND"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {"subsampling": "4:2:0"},
        {"progressive": True},
        {"progressive": True, "mode": "L"},
        {"mode": "L"},
        {"keep_rgb": True},
        {"restart_marker_blocks": 2},
        {"restart_marker_rows": 1},
        {"quality": 5},
        {"quality": 100, "optimize": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (61, 43), (9, 8)])
def test_a_jpeg_has_the_pixels_that_pillow_gives_it(options: Options, width: int, height: int) -> None:
    data = encoded("JPEG", width, height, **options)
    assert_same(imaging.decode(data), pillow(data))


@pytest.mark.parametrize("subsampling", ["440", "411"])
def test_a_jpeg_of_rarer_subsampling_has_the_pixels_that_pillow_gives_it(subsampling: str) -> None:
    data = simplejpeg.encode_jpeg(np.asarray(picture(61, 43)), colorsubsampling=subsampling)
    assert_same(imaging.decode(data), pillow(data))


def flat_jpeg(*sampling: int) -> bytes:
    """Mid-grey at 48 x 48, a component for each `sampling` (horizontal and vertical factor in one byte)."""
    across, down = (max(factor >> 4 for factor in sampling), max(factor & 15 for factor in sampling))
    blocks = -(-48 // (8 * across)) * -(-48 // (8 * down)) * sum((factor >> 4) * (factor & 15) for factor in sampling)
    bits = "001010" * blocks  # "no difference" and "end of block" in the standard luminance tables
    bits += "1" * (-len(bits) % 8)
    grey = plain(128, "JPEG")  # for its tables
    frame = b"".join(struct.pack("BBB", number, factor, 0) for number, factor in enumerate(sampling, 1))
    scan = b"".join(struct.pack("BB", number, 0) for number, _ in enumerate(sampling, 1))
    return (
        grey[: grey.index(b"\xff\xc0")]
        + segment(0xC0, struct.pack(">BHHB", 8, 48, 48, len(sampling)) + frame)
        + grey[grey.index(b"\xff\xc4") : grey.index(b"\xff\xda")]
        + segment(0xDA, bytes([len(sampling)]) + scan + b"\0\x3f\0")
        + int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
        + b"\xff\xd9"
    )


@pytest.mark.parametrize(
    "sampling",
    [
        (0x22, 0x11, 0x11),
        (0x21, 0x21, 0x21),
        (0x22, 0x21, 0x21),
        (0x41, 0x11, 0x11),
        # libjpeg and Pillow read these, but TurboJPEG has no name for them, or simplejpeg has none.
        (0x14, 0x11, 0x11),
        (0x31, 0x11, 0x11),
        (0x42, 0x11, 0x11),
    ],
    ids=lambda factors: " ".join(f"{factor:x}" for factor in factors),
)
def test_a_jpeg_of_any_sampling_that_pillow_reads_is_read(sampling: tuple[int, ...]) -> None:
    data = flat_jpeg(*sampling)
    assert (pillow(data) == 128).all()
    assert_same(imaging.decode(data), pillow(data))


@pytest.mark.parametrize("transform", ["CMYK", "YCCK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": exif(6)}], ids=["baseline", "progressive", "turned"])
def test_adobes_inks_have_the_pixels_that_pillow_gives_them(transform: str, options: Options) -> None:
    data = bytearray(encoded("JPEG", 61, 43, mode="CMYK", **options))
    if transform == "YCCK":
        data[data.index(b"Adobe") + 11] = 2
    assert simplejpeg.decode_jpeg_header(bytes(data))[2] == transform
    assert_same(imaging.decode(bytes(data)), pillow(bytes(data)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}], ids=str)
def test_a_jpeg_is_turned_as_its_exif_asks(orientation: int, options: Options) -> None:
    data = encoded("JPEG", 61, 43, exif=exif(orientation), **options)
    pixels = imaging.decode(data)
    assert_same(pixels, pillow(data))
    assert pixels.shape[:2] == ((61, 43) if orientation >= 5 else (43, 61))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_turned_as_their_exif_asks(kind: Kind, orientation: int) -> None:
    data = encoded(kind, 61, 43, exif=exif(orientation))
    pixels = imaging.decode(data)
    assert_same(pixels, pillow(data))
    assert pixels.shape[:2] == ((61, 43) if orientation >= 5 else (43, 61))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    assert_same(imaging.decode(encoded("JPEG", exif=exif(orientation))), pillow(encoded("JPEG")))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning", "ignore:Truncated File Read:UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        exif(6)[:16],
        exif(6)[:-10],
        exif(6).replace(b"MM", b"XX"),  # no byte order
        exif(6)[:10] + b"\x7f" + exif(6)[11:],  # a directory far behind the end
        exif(6)[:18] + b"\0\x63" + exif(6)[20:],  # a type that does not exist
    ],
    ids=["empty", "half", "cut", "order", "offset", "type"],
)
def test_a_damaged_exif_block_turns_nothing_and_spoils_nothing(kind: Kind, block: bytes) -> None:
    assert_same(imaging.decode(encoded(kind, exif=block)), pillow(encoded(kind)))


def test_an_exif_block_behind_a_long_profile_turns_too() -> None:
    data = encoded("JPEG", 61, 43, exif=exif(6))
    data = data[:2] + 2 * segment(0xE2, b"ICC" + bytes(65000)) + data[2:]
    assert_same(imaging.decode(data), pillow(data))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_turn_asked_for_by_xmp_is_made_in_every_format(kind: Kind) -> None:
    data = encoded(kind, 61, 43, xmp=XMP_TURN)
    assert imaging.decode(data).shape == (61, 43, 3)
    assert_same(imaging.decode(data), pillow(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_after_the_end_are_ignored(kind: Kind) -> None:
    data = encoded(kind)
    for tail in (b"\0", b"\xff", b"trailer" * 1000, encoded(kind, seed=2)):
        assert_same(imaging.decode(data + tail), pillow(data))


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("PNG", "LA", {}),
        ("WEBP", "RGBA", {"lossless": True, "exact": True}),
        ("PNG", "P", {"transparency": bytes(range(0, 256, 4))}),
        ("PNG", "P", {"transparency": 7}),
        ("PNG", "L", {"transparency": 130}),
        ("PNG", "1", {"transparency": 0}),
        ("GIF", "P", {"transparency": 7}),
    ],
    ids=["rgba", "la", "webp", "palette-alpha", "palette-key", "grey-key", "bilevel-key", "gif-key"],
)
def test_what_is_transparent_lies_over_white(kind: Kind, mode: str, options: Options) -> None:
    data = encoded(kind, 61, 43, mode=mode, **options)
    with Image.open(io.BytesIO(data)) as image:
        layer = image.convert("RGBA")
    pixels = imaging.decode(data)
    assert np.abs(pixels.astype(int) - over_white(layer)).max() <= 1
    assert (pixels != np.asarray(layer)[:, :, :3]).any(), "nothing in this picture was transparent"


@pytest.mark.parametrize(("alpha", "expected"), [(0, (255, 255, 255)), (255, (10, 90, 200)), (51, (206, 222, 244))])
def test_alpha_says_how_much_white_shines_through(alpha: int, expected: tuple[int, ...]) -> None:
    pixels = imaging.decode(encode(Image.new("RGBA", (8, 8), (10, 90, 200, alpha)), "PNG"))
    assert (pixels == expected).all()


def test_a_grey_of_16_bits_can_be_transparent_too() -> None:
    pixels = np.full((8, 8), 1000, np.uint16)
    pixels[0] = 30000
    decoded = imaging.decode(png(pixels, transparent=struct.pack(">H", 30000)))
    assert (decoded[0] == 255).all()
    assert (decoded[1:] == 4).all()


def test_every_grey_of_16_bits_becomes_the_nearest_of_8() -> None:
    grey = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    nearest = np.rint(grey / 257).astype(np.uint8)  # 257 is odd: there are no halves
    assert_same(imaging.decode(png(grey)), np.repeat(nearest[:, :, None], 3, axis=2))


@given(arrays(np.uint8, (8, 9)))
def test_a_grey_of_16_bits_that_was_8_comes_back_as_it_was(grey: npt.NDArray[np.uint8]) -> None:
    assert_same(imaging.decode(png(grey.astype(np.uint16) * 257)), np.repeat(grey[:, :, None], 3, axis=2))


@given(arrays(np.uint8, (8, 9, 3)))
def test_an_rgb_of_16_bits_that_was_8_comes_back_as_it_was(colours: npt.NDArray[np.uint8]) -> None:
    assert_same(imaging.decode(png(colours.astype(np.uint16) * 257)), colours)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_an_opaque_picture_has_the_pixels_that_pillow_gives_it(kind: Kind, mode: str) -> None:
    data = encoded(kind, 61, 43, mode=mode)
    assert_same(imaging.decode(data), pillow(data))


def test_a_grey_picture_has_three_equal_channels() -> None:
    pixels = imaging.decode(encoded("PNG", mode="L"))
    assert pixels.shape == (48, 64, 3)
    assert (pixels == pixels[:, :, :1]).all()


@pytest.mark.parametrize("header", ["core", "top-down"])
def test_a_bmp_of_old_header_or_upside_down_is_the_same_picture(header: str) -> None:
    image = picture(16, 8)
    if header == "core":
        rows = encode(image, "BMP")[54:]
        data = b"BM" + struct.pack("<IIIIHHHH", 26 + len(rows), 0, 26, 12, 16, 8, 1, 24) + rows
    else:
        data = encode(ImageOps.flip(image), "BMP")
        data = data[:22] + struct.pack("<i", -8) + data[26:]
    assert read_header(data)[1:3] == (16, 8)
    assert_same(imaging.decode(data), np.asarray(image))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_seen(kind: Kind) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(first, kind, save_all=True, append_images=[second], duration=100, **options)
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert_same(imaging.decode(data), np.asarray(first))


@pytest.mark.parametrize(
    ("chunk", "options"),
    [(b"VP8 ", {}), (b"VP8L", {"lossless": True}), (b"VP8X", {"exif": exif(1)}), (b"VP8X", {"exif": exif(1), "lossless": True})],
    ids=str,
)
@pytest.mark.parametrize(("width", "height"), [(8, 300), (301, 9), (64, 48)])
def test_the_size_of_a_webp_is_told_from_each_kind_of_header(chunk: bytes, options: Options, width: int, height: int) -> None:
    data = encoded("WEBP", width, height, **options)
    assert data[12:16] == chunk
    assert read_header(data)[1:3] == (width, height)
    assert imaging.decode(data).shape == (height, width, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_check_tells_format_and_pixels_without_decoding(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(kind, 61, 43)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", pytest.fail)
    monkeypatch.setattr(imaging, "_decode_pillow", pytest.fail)
    header = imaging.check(data)
    assert (header.kind, header.pixels) == (kind, 61 * 43)


@pytest.mark.parametrize("resize", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(43, 61), (20, 30), (99, 70)])
def test_load_decodes_and_stretches_as_pillow_does(resize: str, height: int, width: int) -> None:
    data = encoded("PNG", 61, 43)
    spec = InputSpec.model_validate({"height": height, "width": width, "resize": resize})
    expected = Image.fromarray(pillow(data)).resize((width, height), Image.Resampling[resize.upper()])
    assert_same(imaging.load(data, spec), np.asarray(expected))


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    pixels = np.asarray(picture(30, 20))
    assert imaging.resize(pixels, InputSpec(height=20, width=30)) is pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_loaded_pixels_lie_in_one_block_whichever_way_they_were_turned(orientation: int) -> None:
    pixels = imaging.load(encoded("JPEG", 30, 30, exif=exif(orientation)), InputSpec(height=30, width=30))
    assert (pixels.shape, pixels.dtype.name, pixels.flags.c_contiguous) == ((30, 30, 3), "uint8", True)


def test_real_photographs_have_the_pixels_that_pillow_gives_them() -> None:
    folder = os.environ.get("PARALLAX_TEST_IMAGES")
    if not folder:
        pytest.skip("PARALLAX_TEST_IMAGES names no folder with intel-test-public.zip")
    with zipfile.ZipFile(Path(folder) / "intel-test-public.zip") as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))]
        chosen = names[:: max(1, len(names) // 200)][:200]
        assert len(chosen) == 200
        for name in chosen:
            data = archive.read(name)
            assert_same(imaging.decode(data), pillow(data))

"""What of an image is handed to others."""

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models import imaging
from models.errors import BrokenImage, EmptyImage, ImageError, ImageTooLarge, UnsupportedImage
from models.imaging import Limits
from models.portable import MAX_SIDE, portable
from tests.support.images import encoded, exif

LIMITS = Limits()
PLENTY = 1_000_000


def naive(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """As somebody decodes who thinks of neither EXIF nor transparency."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize(
    "image",
    [encoded("JPEG"), encoded("JPEG", mode="L"), encoded("PNG"), encoded("PNG", mode="L"), encoded("JPEG", exif=exif(1))],
    ids=["JPEG", "grey JPEG", "PNG", "grey PNG", "upright EXIF"],
)
def test_an_ordinary_file_goes_as_it_is(image: bytes) -> None:
    assert portable(image, LIMITS, PLENTY) is image


@pytest.mark.parametrize(
    "image",
    [
        encoded("JPEG", exif=exif(6)),
        encoded("JPEG", mode="CMYK"),
        encoded("PNG", mode="RGBA"),
        encoded("PNG", mode="P"),
        encoded("PNG", mode="LA"),
        encoded("GIF"),
        encoded("BMP"),
        encoded("WEBP"),
        encoded("WEBP", mode="RGBA"),
    ],
    ids=["turned", "CMYK", "RGBA", "palette", "LA", "GIF", "BMP", "WebP", "WebP with alpha"],
)
def test_what_others_might_see_otherwise_is_encoded_anew_without_loss(image: bytes) -> None:
    sent = portable(image, LIMITS, PLENTY)
    assert sent.startswith(b"\x89PNG")
    np.testing.assert_array_equal(naive(sent), imaging.decode(image))


def test_a_large_one_is_scaled_down_until_it_fits() -> None:
    image = encoded("JPEG", 2400, 1200, quality=95)
    sent = portable(image, LIMITS, 60_000)
    assert len(image) > 60_000 >= len(sent)
    height, width = naive(sent).shape[:2]
    assert max(height, width) <= MAX_SIDE
    assert width / height == pytest.approx(2, rel=0.02)


def test_noise_of_a_large_file_fits_the_smallest_request() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1200, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    sent = portable(buffer.getvalue(), LIMITS, 7_000)
    assert len(sent) <= 7_000
    assert min(naive(sent).shape[:2]) >= imaging.MIN_SIDE


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EmptyImage),
        (b"no image", UnsupportedImage),
        (encoded("JPEG")[:300], BrokenImage),
        (encoded("PNG")[:-30], BrokenImage),
        (encoded("PNG", 200, 200), ImageTooLarge),
    ],
)
def test_a_bad_one_is_refused_here(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        portable(data, Limits(max_pixels=10_000), PLENTY)


@given(at=st.integers(0, 2000), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_a_damaged_jpeg_goes_as_it_is_only_if_it_decodes_whole(at: int, value: int, cut: int) -> None:
    whole = bytearray(encoded("JPEG"))
    whole[at % len(whole)] = value
    damaged = bytes(whole[: len(whole) - cut])
    try:
        found = imaging.plain_jpeg(damaged, imaging.check(damaged))
    except ImageError:
        return
    if found:
        assert simplejpeg.decode_jpeg(damaged, "RGB").shape == imaging.decode(damaged).shape
        assert portable(damaged, LIMITS, PLENTY) is damaged

"""The images that callers send: varied, and the same for the same seed, so that two runs ask for the same work."""

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COUNT = 32
"""Enough variety for a test, and few enough that they are made within a second."""
SIDES = (96, 150, 150, 224, 224, 320, 512)
"""Pixels of the shorter side: thumbnails, what models are trained on, what phones show."""
SHAPES = (1.0, 1.0, 1.33, 1.5, 1.78)
"""Longer side to shorter side."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"}
MAX_BYTES = 4 * 1024 * 1024
"""Of one image of a zip: what Custom Vision takes."""
MAX_TOTAL_BYTES = 64 * 1024 * 1024


class ImagesError(ValueError):
    """No images can be had from a zip: the message says why."""


def varied(seed: int, count: int = COUNT, between: Callable[[], object] = lambda: None) -> Sequence[bytes]:
    """Generated images of several sizes, shapes, qualities and formats; most of them JPEGs, a fifth PNGs, a few grey.

    `between` is called after each: it takes a while, and a process may have other things to do.
    """
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        made.append(_one(random))
        between()
    return made


def from_zip(path: Path, seed: int, count: int = COUNT) -> Sequence[bytes]:
    """Images of a zip, wherever they lie in it, drawn by the seed. Raises `ImagesError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                info.filename
                for info in archive.infolist()
                if Path(info.filename).suffix.lower() in SUFFIXES and 0 < info.file_size <= MAX_BYTES
            )
            chosen = np.random.default_rng(seed).permutation(len(names))[:count]
            files = [archive.read(names[number]) for number in chosen]
    except (OSError, zipfile.BadZipFile) as exc:
        raise ImagesError(f"{path} can't be read as a zip: {exc}") from exc
    if not files:
        raise ImagesError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))}) of at most {MAX_BYTES:,} bytes")
    while sum(map(len, files)) > MAX_TOTAL_BYTES:
        files.pop()
    return files


def write_zip(path: Path, files: Sequence[bytes]) -> None:
    """A zip for `from_zip`."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, data in enumerate(files):
            suffix = "png" if data.startswith(b"\x89PNG") else "jpg"
            archive.writestr(f"{number:04}.{suffix}", data)


def images(seed: int, source: str | None, between: Callable[[], object] = lambda: None) -> Sequence[bytes]:
    """From a zip if there is one, else generated, with `between` as for `varied`. Raises `ImagesError`."""
    return from_zip(Path(source), seed) if source else varied(seed, between=between)


def painted(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """An RGB picture that is smooth, grained and has edges, as photographs are: it costs a decoder about as much as one."""
    layers = np.zeros((height, width, 3))
    for cells, strength in ((3, 90), (8, 40), (30, 22)):
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), np.uint8))
        layers += (np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64) - 128) * strength / 128
    image = Image.fromarray((layers + 128).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        corners = [(int(x), int(y)) for x, y in random.integers(-20, (width + 20, height + 20), (4, 2))]
        red, green, blue = (int(value) for value in random.integers(0, 256, 3))
        draw.polygon(corners, fill=(red, green, blue))
    grained = np.asarray(image, np.int16) + random.integers(-9, 10, (height, width, 1), np.int16)
    return Image.fromarray(grained.clip(0, 255).astype(np.uint8))


def _one(random: np.random.Generator) -> bytes:
    short = int(random.choice(SIDES))
    long = round(short * float(random.choice(SHAPES)))
    width, height = (short, long) if random.random() < 0.4 else (long, short)
    picture = painted(random, width, height)
    if random.random() < 0.1:
        picture = picture.convert("L")
    buffer = io.BytesIO()
    if random.random() < 0.2 and short <= 320:  # bigger PNGs are rare in practice, and would be most of the bytes
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(
            buffer,
            "JPEG",
            quality=int(random.integers(70, 96)),
            subsampling=int(random.choice((0, 2, 2))),
            progressive=bool(random.random() < 0.2),
        )
    return buffer.getvalue()

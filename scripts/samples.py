"""Paints the samples of the README and of the page, scenes of noise and rectangles: nobody's photograph ships."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT / "docs" / "samples", ROOT / "service" / "web" / "samples")
WIDTH, HEIGHT = 300, 225

Field: TypeAlias = npt.NDArray[np.floating]


def main() -> None:
    """Paint them all, the same on every machine."""
    for name, paint in {"sea": _sea, "forest": _forest, "buildings": _buildings}.items():
        image = paint(np.random.default_rng(7))
        for folder in FOLDERS:
            image.save(folder / f"{name}.jpg", quality=88)


def _noise(generator: np.random.Generator, across: int, down: int) -> Field:
    """Smooth noise in 0..1, float32 [HEIGHT, WIDTH], with about `across` x `down` blobs."""
    coarse = Image.fromarray(generator.integers(0, 256, (down, across), np.uint8))
    return np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32) / 255


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], share: Field) -> Field:
    """Mix two colours by a share in 0..1 [H, W] -> float32 [H, W, 3]."""
    mixed: Field = np.array(low, np.float32) * (1 - share[..., None]) + np.array(high, np.float32) * share[..., None]
    return mixed


def _sky(generator: np.random.Generator) -> Field:
    down = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None] * np.ones((1, WIDTH), np.float32)
    clouds = np.clip(_noise(generator, 7, 12) * 1.6 - 0.8, 0, 1)
    sky = _blend((96, 150, 205), (205, 222, 235), down)
    clouded: Field = sky + (245 - sky) * clouds[..., None]
    return clouded


def _image(pixels: Field) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _sea(generator: np.random.Generator) -> Image.Image:
    horizon = HEIGHT * 9 // 20
    depth = np.clip((np.arange(HEIGHT, dtype=np.float32) - horizon) / (HEIGHT - horizon), 0, 1)[:, None]
    waves = sum(_noise(generator, 6 * 2**k, 40 * 2**k) / 2**k for k in range(3)) / 1.75
    water = _blend((28, 82, 112), (60, 130, 150), np.clip(waves, 0, 1)) + (np.clip(waves - 0.72, 0, 1) * 500 * depth)[..., None]
    below = (np.arange(HEIGHT) > horizon)[:, None, None]
    return _image(np.where(below, water, _sky(generator))).filter(ImageFilter.GaussianBlur(0.6))


def _forest(generator: np.random.Generator) -> Image.Image:
    leaves = sum(_noise(generator, 20 * 2**k, 16 * 2**k) / 1.5**k for k in range(4)) / 2.4
    pixels = _blend((12, 28, 8), (118, 150, 52), np.clip((leaves - 0.25) * 1.8, 0, 1))
    image = _image(pixels)
    draw = ImageDraw.Draw(image)
    for _ in range(26):
        x, width = int(generator.integers(0, WIDTH)), int(generator.integers(2, 11))
        shade = int(generator.integers(18, 60))
        draw.polygon([(x, 0), (x + width, 0), (x + width + 2, HEIGHT), (x - 2, HEIGHT)], fill=(shade + 12, shade + 4, shade - 8))
    veil = _image(pixels).filter(ImageFilter.GaussianBlur(1))
    mask = Image.fromarray((np.clip(_noise(generator, 30, 24) * 2 - 0.7, 0, 1) * 255).astype(np.uint8))
    return Image.composite(veil, image, mask).filter(ImageFilter.GaussianBlur(0.5))


def _buildings(generator: np.random.Generator) -> Image.Image:
    image = _image(_sky(generator))
    draw = ImageDraw.Draw(image)
    x = -10
    while x < WIDTH:
        width, top = int(generator.integers(45, 80)), int(generator.integers(10, 90))
        wall = int(generator.integers(90, 190))
        draw.rectangle((x, top, x + width, HEIGHT), fill=(wall, wall - 8, wall - 18))
        draw.rectangle((x + width - 8, top, x + width, HEIGHT), fill=(wall - 40, wall - 46, wall - 52))
        for row in range(top + 8, HEIGHT - 6, 14):
            for column in range(x + 6, x + width - 14, 11):
                glass = int(generator.integers(30, 110))
                draw.rectangle((column, row, column + 6, row + 8), fill=(glass, glass + 12, glass + 26))
        x += width + int(generator.integers(0, 5))
    grain = generator.normal(0, 5, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return _image(np.asarray(image, np.float32) + grain).filter(ImageFilter.GaussianBlur(0.5))


if __name__ == "__main__":
    main()

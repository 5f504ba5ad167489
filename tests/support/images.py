"""Small generated pictures in every format, and the folders and zips that labelled ones come in."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import ExifTags, Image

Kind: TypeAlias = Literal["JPEG", "PNG", "WEBP", "BMP", "GIF"]
Colour: TypeAlias = tuple[int, int, int]

SUFFIX: Mapping[Kind, str] = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif"}


def picture(width: int, height: int, mode: str = "RGB", seed: int = 1) -> Image.Image:
    """Smooth like a photograph, different for every seed, in any mode of Pillow; alpha and palette vary too."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 4), np.uint8)
    smooth = Image.fromarray(coarse, "RGBA").resize((width, height), Image.Resampling.BICUBIC)
    if mode in {"RGBA", "LA"}:
        return smooth.convert(mode)
    return smooth.convert("RGB").quantize(64) if mode == "P" else smooth.convert("RGB").convert(mode)


def encode(image: Image.Image, kind: Kind = "JPEG", **save_options: Any) -> bytes:  # noqa: ANN401  # as Pillow types them
    """The bytes of the file that Pillow would save."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **save_options)
    return buffer.getvalue()


def encoded(
    kind: Kind = "JPEG",
    width: int = 64,
    height: int = 48,
    *,
    mode: str = "RGB",
    seed: int = 1,
    **save_options: Any,  # noqa: ANN401
) -> bytes:
    """A generated picture, encoded."""
    return encode(picture(width, height, mode, seed), kind, **save_options)


def plain(colour: Colour | int, kind: Kind = "PNG", width: int = 32, height: int = 32) -> bytes:
    """One colour all over, or one grey."""
    return encode(Image.new("RGB", (width, height), (colour,) * 3 if isinstance(colour, int) else colour), kind)


def exif(orientation: int) -> bytes:
    """An EXIF block that asks for a turn (1 to 8), for the option `exif` of `encoded`."""
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    return block.tobytes()


def labelled(labels: Mapping[str, int], kind: Kind = "PNG", width: int = 32, height: int = 32) -> dict[str, bytes]:
    """So many different pictures of each label, as `{"dark/1.png": bytes}`.

    The first label is dark, the last bright, those between evenly spaced: a `models.tiny_model` of these labels in this order
    names every one of them rightly.
    """
    files: dict[str, bytes] = {}
    for place, (label, count) in enumerate(labels.items()):
        level = 255 * place // max(1, len(labels) - 1)
        for number in range(1, count + 1):
            image = picture(width, height, seed=1000 * place + number)
            image = image.point([min(255, max(0, level + (value - 128) // 8)) for value in range(256)] * 3)
            files[f"{label}/{number}{SUFFIX[kind]}"] = encode(image, kind)
    return files


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a folder that is made for them. Returns it."""
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write files into a zip, in their order. Returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path

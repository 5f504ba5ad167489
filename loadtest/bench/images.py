"""The pictures that are sent: photographs where there are some, else generated ones that cost a decoder about as much."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from loadtest.images import painted
from models import imaging
from models.datasets import open_dataset
from models.errors import ImageError
from models.metadata import InputSpec
from models.runtime import OnnxModel

COUNT = 64
SIDE = 150
"""Pixels, as the photographs that the shipped models learnt from."""
TEST_SET = "intel-test-public.zip"
MARGIN = 0.01
"""Two best classes closer than this may change places by rounding alone: such a picture proves nothing."""


@dataclass(frozen=True)
class Pictures:
    """Encoded images, and what to call them in a report."""

    files: Sequence[bytes]
    kind: str


@dataclass(frozen=True)
class Known:
    """An encoded image and the label that a model gives it."""

    data: bytes
    label: str


def read_pictures(source: str | None, count: int = COUNT) -> Pictures:
    """Take `count` images evenly from a zip or folder of class folders. Raises `DatasetError`.

    Without a source from the test set in the folder `PARALLAX_TEST_IMAGES`; without that they are generated.
    """
    if source is None and (folder := os.environ.get("PARALLAX_TEST_IMAGES")) and (Path(folder) / TEST_SET).is_file():
        source = str(Path(folder) / TEST_SET)
    if source is None:
        return Pictures([generate(number) for number in range(count)], f"{count} generated JPEGs of {SIDE} x {SIDE} pixels")
    with open_dataset(source) as dataset:
        chosen = {number * len(dataset) // count for number in range(count)}
        files = [image.data for number, image in enumerate(dataset) if number in chosen]
        return Pictures(files, f"{len(files)} images of {dataset.name}")


def generate(seed: int) -> bytes:
    """A JPEG of about 15 kB that is smooth, grained and has edges, as photographs are; the same bytes for the same seed."""
    buffer = io.BytesIO()
    painted(np.random.default_rng(seed), SIDE, SIDE).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def label_pictures(files: Sequence[bytes], model: OnnxModel, spec: InputSpec, labels: Sequence[str]) -> list[Known]:
    """What a model says of each image, in process; images that can't be read or that it is not sure about are left out."""
    known = []
    for data in files:
        try:
            pixels = imaging.load(data, spec)
        except ImageError:
            continue
        scores = model.run(pixels[None])[0]
        second, first = np.sort(scores)[-2:]
        if first - second >= MARGIN:
            known.append(Known(data, labels[int(scores.argmax())]))
    return known


def big_jpeg(width: int, height: int) -> bytes:
    """A photograph of a big camera, as far as a decoder is concerned: 4:2:0, a few megabytes."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()

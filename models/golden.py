"""Golden vectors: encoded images whose pixels and scores were written down when the model was exported.

They travel with the model as `golden.npz` and are checked wherever it is loaded, so that a decoder, a resize or a runtime
that answers otherwise than at export is found before it serves. The images are generated; nobody's photographs travel.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from models import imaging
from models.errors import BrokenModel, GoldenMismatch, ImageError
from models.metadata import InputSpec, Precision

Run: TypeAlias = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""uint8 [N, height, width, 3] -> scores float32 [N, classes]."""

TOLERANCE: Mapping[tuple[Precision, str], float] = {
    ("fp32", "CPUExecutionProvider"): 1e-4,
    ("fp32", "CUDAExecutionProvider"): 5e-3,  # TF32 keeps 10 bits of the mantissa
    ("fp16", "CPUExecutionProvider"): 2e-2,
    ("fp16", "CUDAExecutionProvider"): 2e-2,
    ("int8", "CPUExecutionProvider"): 0.1,  # with AVX-512 VNNI and without, int8 sums saturate differently
    ("int8", "CUDAExecutionProvider"): 0.1,
}

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What numpy raises for a file that is none of ours."""


def write(path: Path, spec: InputSpec, runs: Mapping[Precision, Run]) -> None:
    """Generate the images, and write them with the digests of their pixels and the scores of every variant."""
    files = _files(spec)
    pixels = [imaging.load(data, spec) for data in files]
    arrays: dict[str, npt.NDArray[np.generic]] = {f"file_{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(files)}
    arrays["pixels_sha256"] = np.array([_digest(array) for array in pixels])
    for precision, run in runs.items():
        arrays[f"scores_{precision}"] = run(np.stack(pixels))
    np.savez(path, allow_pickle=False, **arrays)


def precisions(path: Path) -> set[str]:
    """Whose scores a file holds, variants that left the version since among them. Raises `BrokenModel`."""
    with _opened(path) as golden:
        return {name.removeprefix("scores_") for name in golden.files if name.startswith("scores_")}


def extend(path: Path, extended: Path, spec: InputSpec, runs: Mapping[Precision, Run]) -> None:
    """Write `extended`: what `path` holds, with the scores of further variants. Raises `BrokenModel`."""
    pixels = np.stack([imaging.load(data, spec) for data in images(path)])
    with _opened(path) as golden:
        arrays: dict[str, npt.NDArray[np.generic]] = dict(golden)
    np.savez(extended, allow_pickle=False, **arrays, **{f"scores_{precision}": run(pixels) for precision, run in runs.items()})


def images(path: Path) -> list[bytes]:
    """The encoded images of a file that `write` made. Raises `BrokenModel`."""
    with _opened(path) as golden:
        return [golden[name].tobytes() for name in sorted(golden.files) if name.startswith("file_")]


def check(path: Path, spec: InputSpec, precision: Precision, run: Run, provider: str) -> float:
    """Answer the golden images anew. Returns the largest difference of a score.

    Raises `GoldenMismatch` if pixels differ, scores differ by more than `TOLERANCE`, or another class comes first.
    """
    with _opened(path) as golden:
        digests = [str(digest) for digest in golden["pixels_sha256"]]
        files = [golden[f"file_{i}"].tobytes() for i in range(len(digests))]
        expected = golden[f"scores_{precision}"]
        pixels = np.stack([imaging.load(data, spec) for data in files])
    for number, (array, digest) in enumerate(zip(pixels, digests, strict=True)):
        if _digest(array) != digest:
            raise GoldenMismatch(f"golden image {number} decodes to other pixels here than at export: other image libraries")
    scores = run(pixels)
    if scores.shape != expected.shape:
        raise GoldenMismatch(f"golden scores have shape {expected.shape}, the model answers {scores.shape}")
    difference = float(np.abs(scores - expected).max())
    tolerance = TOLERANCE[precision, provider]
    if not difference <= tolerance:  # also true of NaN
        raise GoldenMismatch(f"golden scores differ by {difference:.2g}; {tolerance:g} is allowed for {precision} on {provider}")
    if (scores.argmax(axis=1) != expected.argmax(axis=1)).any() and precision in ("fp32", "int8"):
        raise GoldenMismatch("a golden image gets another class than at export")
    return difference


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """What `write` made. Raises `BrokenModel` for what can't be read of it, by who uses it too."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as golden:
            yield golden
    except (*UNREADABLE, ImageError) as exc:
        raise BrokenModel(f"{path.name} can't be read: {exc}") from exc


def _digest(pixels: imaging.Pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _files(spec: InputSpec) -> list[bytes]:
    """Encoded images that between them pass every step: chroma upsampling, EXIF turn, grey, resize both ways."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    return [
        _encode(_picture(spec.width, spec.height, 1), "JPEG", quality=90, subsampling="4:4:4"),
        _encode(_picture(231, 173, 2), "JPEG", quality=85, subsampling="4:2:0", exif=turned.tobytes()),
        _encode(_picture(96, 96, 3).convert("L"), "PNG"),
        _encode(_picture(360, 240, 4), "JPEG", quality=92, subsampling="4:2:2"),
        _encode(_picture(spec.width * 2, spec.height * 2, 5), "PNG"),
    ]


def _picture(width: int, height: int, seed: int) -> Image.Image:
    """A soft random pattern: smooth enough for JPEG, varied enough to move every score."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5 + seed, 6 + seed, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()

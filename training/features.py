"""The frozen part of a network runs once per image and view; what it gives is kept on disk as float16.

It runs through ONNX Runtime, in a third of the time that TensorFlow takes, on one thread for each core. A cache that was cut
short goes on after its last finished rows.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from models.datasets import batches
from models.errors import UsageError
from models.machine import usable_cpus
from models.runtime import OnnxGraph
from training.augment import Augmentation, view
from training.conversion import write_onnx
from training.data import Advance, TrainingSet

CHUNK = 32
"""Images in a call: as many as make the call's own cost negligible. The random views of a chunk follow from its first row."""

Progress = Callable[[str, int], Advance]
Rows = npt.NDArray[np.float16]
Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Views:
    """Which looks at each training image are kept: the image itself, its mirror image if asked for, and random crops."""

    mirror: bool = True
    crops: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Of the crops."""
    seed: int = 1
    plain: bool = True
    """Whether the image and its mirror image are among them; False: crops alone."""

    @property
    def names(self) -> list[str]:
        """A name for each view, the image itself first."""
        plain = ["itself", *(["mirrored"] if self.mirror else [])] if self.plain else []
        return [*plain, *(f"crop{number}" for number in range(self.crops))]

    def look(self, name: str, images: npt.NDArray[np.uint8], first_row: int) -> npt.NDArray[np.float32]:
        """One view of a chunk of images uint8 [N,H,W,3], as float32 of the same size."""
        if name.startswith("crop"):
            seed = np.array([self.seed, int(name.removeprefix("crop")) * 1_000_000 + first_row], np.int64)
            nothing = np.zeros((len(images), 1), np.float32)
            return np.asarray(view(self._of_crops, *images.shape[1:3])(images, nothing, seed)[0])
        return (images[:, :, ::-1] if name == "mirrored" else images).astype(np.float32)

    @property
    def _of_crops(self) -> Augmentation:
        return Augmentation(**(vars(self.augmentation) | {"mixup": 0.0}))  # rows are mixed when they are learnt from


@dataclass(frozen=True)
class Cached:
    """What a network gave: for each view the rows of the training images, and those of the validation images themselves."""

    views: list[Rows]
    validation: Rows
    seconds: float
    """How long it took in all, over all resumptions."""


def beside(parts: Sequence[Cached]) -> Cached:
    """Rows [N,a] and [N,b] of the same views of the same images as rows [N,a+b]."""
    views = [np.concatenate(rows, axis=1) for rows in zip(*(part.views for part in parts), strict=True)]
    return Cached(views, np.concatenate([part.validation for part in parts], axis=1), sum(part.seconds for part in parts))


def apart(joined: Cached, widths: Sequence[int]) -> list[Cached]:
    """What `beside` laid together, by the widths of the parts; each says that it took what all took."""
    edges = [0, *accumulate(widths)]
    return [
        Cached([rows[:, a:b] for rows in joined.views], joined.validation[:, a:b], joined.seconds) for a, b in pairwise(edges)
    ]


def size(shape: Sequence[int], data: TrainingSet, views: Views) -> int:
    """Bytes that the cache of rows of a shape will take."""
    return 2 * prod(shape) * (len(data.train) * len(views.names) + len(data.validation))


def check_room(folder: Path, needed: int, budget: int) -> None:
    """Refuse a cache that is larger than the budget or than what is free on the disk. Raises `UsageError`."""
    held = sum(file.stat().st_blocks * 512 for file in folder.rglob("*.npy"))  # a cache that was cut short needs the rest
    free = shutil.disk_usage(folder).free + held
    if needed > budget:
        raise UsageError(
            f"the cached activations would take {needed / 1e9:.1f} GB, more than --max-cache-gb {budget / 1e9:g} allows: allow "
            "more, fine-tune a smaller share, cache fewer crops, or learn from pixels (from_pixels)"
        )
    if needed > free:
        raise UsageError(
            f"the cached activations would take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {folder}: fine-tune a "
            "smaller share, cache fewer crops, or set PARALLAX_DATA_DIR to a larger disk"
        )


def features(
    folder: Path, network: keras.Model, data: TrainingSet, views: Views, *, key: str, text: str, progress: Progress
) -> Cached:
    """What `network` (float32 pixels [N,H,W,3] in, rows [N,...] out) gives for every view of the images, cached in `folder`.

    `key` says what the rows follow from: a cache of another key is made anew. Raises `UsageError` if values exceed float16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _State.open(folder, key)
    shape = tuple(network.output_shape[1:])
    wanted = _wanted(folder, data, views)
    left = sum(len(rows) - state.done(file) for _, rows, file in wanted)
    if left:
        run = _compile(network, folder / "network.onnx")
        advance = progress(text, left)
        for name, rows, file in wanted:
            _fill(file, state, shape, rows, partial(_rows_of, run, views, name, data), advance)
    return _load(wanted, state)


def held(folder: Path, data: TrainingSet, views: Views, *, key: str) -> Cached | None:
    """What `features` would give, if all of it is in `folder` already."""
    wanted, state = _wanted(folder, data, views), _State.open(folder, key)
    return _load(wanted, state) if all(state.done(file) == len(rows) for _, rows, file in wanted) else None


def seconds(folder: Path) -> float:
    """How long what is in `folder` took."""
    return float(json.loads((folder / "cache.json").read_bytes())["seconds"])


def _wanted(folder: Path, data: TrainingSet, views: Views) -> list[tuple[str, npt.NDArray[np.int64], Path]]:
    """For each file: the view that it holds, and of which images."""
    files = [(name, data.train, folder / f"{name}.npy") for name in views.names]
    return [*files, ("itself", data.validation, folder / "validation.npy")]


def _load(wanted: list[tuple[str, npt.NDArray[np.int64], Path]], state: "_State") -> Cached:
    arrays = [np.load(file, mmap_mode="r") for _, _, file in wanted]
    return Cached(arrays[:-1], arrays[-1], state.seconds)


def _rows_of(
    run: Run, views: Views, name: str, data: TrainingSet, rows: npt.NDArray[np.int64], first: int
) -> npt.NDArray[np.float32]:
    return run(views.look(name, data.pixels[rows], first))


def cache_key(data: TrainingSet, *parts: object) -> str:
    """Digest of the images of a training set, in their order, and of whatever else rows follow from."""
    images = [file.sha256 for file in (*data.data, *data.excluded)], data.counts.model_dump(), data.pixels.shape
    return hashlib.sha256(repr((images, parts)).encode()).hexdigest()


def _compile(network: keras.Model, path: Path) -> Run:
    write_onnx(network, network.input_shape, path)
    graph = OnnxGraph(path, threads=1)
    path.unlink()
    return graph.run


def _fill(
    file: Path,
    state: "_State",
    shape: Sequence[int],
    rows: npt.NDArray[np.int64],
    run: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.float32]],
    advance: Advance,
) -> None:
    """Compute the rows of one file that are not there yet, in order, on all cores."""
    done = state.done(file)
    if done == len(rows):
        return
    if done:
        array = np.lib.format.open_memmap(file, "r+")
    else:
        array = np.lib.format.open_memmap(file, "w+", np.float16, (len(rows), *shape))
    starts = range(done, len(rows), CHUNK)
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for group in batches(starts, 4 * usable_cpus()):
            began = time.monotonic()
            for start, found in zip(group, pool.map(lambda start: run(rows[start : start + CHUNK], start), group), strict=True):
                with np.errstate(over="ignore"):  # told below
                    array[start : start + CHUNK] = found
                if not np.isfinite(array[start : start + CHUNK]).all():
                    raise UsageError(
                        f"the network gives values up to {np.abs(found).max():.3g}, which float16 can't hold: freeze it elsewhere"
                    )
                for _ in found:
                    advance()
            array.flush()
            state.note(file, min(group[-1] + CHUNK, len(rows)), time.monotonic() - began)


class _State:
    """`cache.json`: what the rows follow from, how many of each file are there, and how long they took."""

    def __init__(self, path: Path, key: str, rows: dict[str, int], seconds: float) -> None:
        self._path = path
        self._key = key
        self._rows = rows
        self.seconds = seconds

    @classmethod
    def open(cls, folder: Path, key: str) -> "_State":
        path = folder / "cache.json"
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            found = {}
        if found.get("key") != key:
            return cls(path, key, {}, 0.0)
        return cls(path, key, found["rows"], found["seconds"])

    def done(self, file: Path) -> int:
        return self._rows.get(file.name, 0) if file.exists() else 0

    def note(self, file: Path, rows: int, seconds: float) -> None:
        self._rows[file.name] = rows
        self.seconds += seconds
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"key": self._key, "rows": self._rows, "seconds": self.seconds}), encoding="utf-8")
        part.replace(self._path)

"""What a lane does with what it takes: decode what is not decoded yet, infer, and give each image its own outcome."""

import time
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from models import imaging
from models.metadata import InputSpec
from models.runtime import OnnxModel
from service.backends.base import TooBig
from service.decoding import BIG_PIXELS
from service.domain import Inferred
from service.errors import BackendFailed
from service.tuning import CUDA_BATCHES, CUDA_PROVIDER

TRIES = 7
TRY_S = 0.5

Item: TypeAlias = imaging.Pixels | bytes
Outcome: TypeAlias = Inferred | Exception


class Inference:
    """Runs batches on one session, from several threads at once."""

    def __init__(self, model: OnnxModel, spec: InputSpec, limits: imaging.Limits, batch_size: int | None = None) -> None:
        """`model` takes images of the size that `spec` states, `batch_size` of them at a time (None: as many as come).

        One that takes them one by one is given all that come, in one call.
        """
        self.model = model
        self._batch_size = None if model.one_by_one else batch_size
        self._spec = spec
        self._limits = limits
        self._padded = model.provider == CUDA_PROVIDER

    def __call__(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Outcomes in order. An image that can't be read, or is too big to decode here, leaves the others alone."""
        size = self._batch_size or len(batch)
        if len(batch) <= size:
            return self._run_one(batch)
        return [outcome for start in range(0, len(batch), size) for outcome in self._run_one(batch[start : start + size])]

    def in_batches_of(self, batch_size: int) -> "Inference":
        """The same session, with another batch size."""
        return Inference(self.model, self._spec, self._limits, batch_size)

    def load(self, data: bytes) -> imaging.Pixels:
        """Decode and resize an image of any size that is accepted. Raises `ImageError`."""
        return imaging.load(data, self._spec, self._limits)

    def warm(self) -> float:
        """Let every batch size be seen once, so that no request pays for kernels and arenas. Returns seconds for one image."""
        took = 0.0
        for size in reversed(CUDA_BATCHES if self._padded else (1, 1)):
            blank = np.zeros((size, self._spec.height, self._spec.width, 3), np.uint8)
            started = time.perf_counter()
            self._run(blank)
            took = time.perf_counter() - started
        return took

    def times(self) -> list[float]:
        """Seconds for one image, `TRIES` times, or as often as `TRY_S` allows: others may be busy meanwhile. On a GPU once."""
        until = time.perf_counter() + TRY_S
        times = [self.warm()]
        while not self._padded and len(times) < TRIES and time.perf_counter() < until:
            times.append(self.warm())
        return times

    def _run_one(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Decode and infer what one call of the model takes."""
        images = np.empty((len(batch), self._spec.height, self._spec.width, 3), np.uint8)
        decoded: list[tuple[float, float]] = []
        refused: dict[int, Exception] = {}
        for place, item in enumerate(batch):
            started = time.perf_counter()
            try:
                self._put(item, images[len(decoded)])
                decoded.append((started, time.perf_counter()))
            except Exception as exc:  # noqa: BLE001  # whatever it is, it is the error of this image's caller
                refused[place] = exc
        outcomes: list[Outcome] = self._infer(images[: len(decoded)], decoded) if decoded else []
        for place, error in refused.items():  # in ascending order, so that each finds its place
            outcomes.insert(place, error)
        return outcomes

    def _put(self, item: Item, out: imaging.Pixels) -> None:
        """Have an image's pixels where they are inferred: those of a JPEG of the model's own size are decoded there."""
        if not isinstance(item, bytes):
            out[...] = item
            return
        header = imaging.check(item, self._limits)
        if header.pixels > BIG_PIXELS:
            raise TooBig
        fits = (header.height, header.width) == out.shape[:2]
        pixels = imaging.resize(imaging.decode_checked(item, header, self._limits, out if fits else None), self._spec)
        if not np.may_share_memory(pixels, out):
            out[...] = pixels

    def _infer(self, images: imaging.Pixels, decoded: Sequence[tuple[float, float]]) -> list[Outcome]:
        started = time.perf_counter()
        scores = self._run(images)
        ended = time.perf_counter()
        took, size = ended - started, len(images)
        ends = [ended] * size
        if self.model.one_by_one:
            took, size = took / size, 1
            ends = [started + took * (place + 1) for place in range(len(images))]
        outcomes: list[Outcome] = [
            Inferred(row, after - before, took, after, end, size)
            for row, (before, after), end in zip(scores, decoded, ends, strict=True)
        ]
        if not np.isfinite(scores).all():
            for place in np.flatnonzero(~np.isfinite(scores).all(axis=1)):
                outcomes[place] = BackendFailed("The model answered with scores that are no numbers.")
        return outcomes

    def _run(self, images: imaging.Pixels) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        count = len(images)
        if self._padded:
            size = next(size for size in CUDA_BATCHES if size >= count)
            images = np.concatenate([images, np.zeros((size - count, *images.shape[1:]), np.uint8)])
        return self.model.run(images)[:count]

"""A stand-in that needs no model: for trying a client, and for tests."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models import imaging
from models.metadata import InputSpec
from service.domain import Identity, Inferred
from service.settings import FakeSettings, Settings

SPEC = InputSpec(height=32, width=32)


class FakeBackend:
    """Answers by the mean brightness of the image: the darker, the earlier the label."""

    remote = False
    tally = None
    decodes = False
    tunable = None

    def __init__(self, settings: Settings) -> None:
        fake: FakeSettings = settings.fake
        self.identity = Identity("fake", "fake", "1", "none", "none", tuple(fake.labels))
        self.max_batch_size = fake.max_batch_size
        self.max_in_flight = fake.max_in_flight
        self._seconds = fake.latency_ms / 1000
        self._limits = imaging.Limits(settings.max_body_bytes, settings.max_pixels)

    async def start(self) -> None:
        """It needs nothing."""

    def prepare(self, data: bytes) -> imaging.Pixels:
        """Decode as a real backend does, so that bad images fail in the same way."""
        return imaging.load(data, SPEC, self._limits)

    async def infer(self, batch: Sequence[imaging.Pixels | bytes]) -> Sequence[Inferred | Exception]:
        """Take the configured time, then a softmax around the brightness."""
        started = time.perf_counter()
        if self._seconds:
            await asyncio.sleep(self._seconds)
        places = np.arange(len(self.identity.labels), dtype=np.float32)
        results = []
        for pixels in batch:
            centre = float(np.mean(np.asarray(pixels))) / 255 * (len(places) - 1)
            weights = np.exp(-((places - centre) ** 2))
            results.append((weights / weights.sum()).astype(np.float32))
        ended = time.perf_counter()
        return [Inferred(scores, 0.0, ended - started, started, ended, len(batch)) for scores in results]

    def describe(self) -> Mapping[str, Any]:
        """Its input and its plan, in the form of a real backend's."""
        return {
            "input": SPEC.model_dump(),
            "plan": {"batch_size": self.max_batch_size, "lanes": self.max_in_flight, "threads": 1},
            "note": "a stand-in: its answers mean nothing",
        }

    async def close(self) -> None:
        """It holds nothing."""

"""One image's way: permit -> decode -> lane -> ranked labels. Every route and every scoring run goes through here."""

import asyncio
import logging
import time
from collections.abc import Sequence

import numpy as np

from models.errors import ParallaxError
from service.decoding import Decoder
from service.domain import Prediction, Timings, rank
from service.errors import BackendFailed, DeadlineExceeded, Overloaded
from service.registry import Registry, Running
from service.telemetry import Metrics

log = logging.getLogger("parallax.pipeline")


class Pipeline:
    """What the service does with an image."""

    def __init__(self, registry: Registry, decoder: Decoder, metrics: Metrics) -> None:
        """It owns none of them."""
        self._registry = registry
        self._decoder = decoder
        self._metrics = metrics

    async def classify(
        self, data: bytes, *, backend: str | None = None, version: str | None = None, top: int = 3, deadline: float | None = None
    ) -> Prediction:
        """Classify one encoded image with one backend (none named: the default).

        `deadline`: loop time by which inference must have begun. Raises `ImageError` or `ServiceError`.
        """
        running = self._registry.get(backend, version)
        counters = running.counters
        try:
            prediction = await self._classify(running, data, top, deadline)
        except Overloaded:
            counters.refused += 1
            raise
        except BackendFailed:
            counters.failed += 1
            raise
        counters.answered += 1
        self._metrics.observe(prediction)
        return prediction

    async def compare(
        self, data: bytes, *, backends: Sequence[str] = (), top: int = 3, deadline: float | None = None
    ) -> list[tuple[str, Prediction | ParallaxError]]:
        """Classify one image with several backends at once (none named: all). Each has its own result or its own error."""
        names = list(dict.fromkeys(backends)) or sorted({running.identity.name for running in self._registry.running})

        async def one(name: str) -> Prediction | ParallaxError:
            try:
                return await self.classify(data, backend=name, top=top, deadline=deadline)
            except ParallaxError as exc:
                return exc

        return list(zip(names, await asyncio.gather(*map(one, names)), strict=True))

    async def _classify(self, running: Running, data: bytes, top: int, deadline: float | None) -> Prediction:
        begun = time.perf_counter()
        with running.admission.permit():
            try:
                async with asyncio.timeout_at(deadline):
                    decoded = await self._decoder.run(running.backend.prepare, data)
            except TimeoutError:
                raise DeadlineExceeded("The deadline passed before the image was decoded.") from None
            try:
                answer = await running.batcher.submit(decoded.value, deadline)
            except ParallaxError:
                raise
            except Exception as exc:
                log.exception("inference failed", extra={"backend": running.identity.name, "version": running.identity.version})
                raise BackendFailed(f"Backend {running.identity.name!r} failed on this batch. The log has the cause.") from exc
        if not np.isfinite(answer.value).all():
            raise BackendFailed(f"Backend {running.identity.name!r} answered with scores that are no numbers.")
        timings = Timings(decoded.waited + answer.waited, decoded.took, answer.ran, time.perf_counter() - begun)
        return Prediction(running.identity, rank(answer.value, running.identity.labels, top), timings)

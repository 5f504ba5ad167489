"""One image's way: permit -> decode -> lane -> ranked labels. Every route and every scoring run goes through here."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from models.errors import ParallaxError
from service.activity import Activity
from service.backends.base import TooBig
from service.decoding import Decoder
from service.domain import Inferred, Prediction, Timings, rank
from service.errors import BackendFailed, DeadlineExceeded, Overloaded, Unanswered
from service.registry import Registry
from service.running import Running
from service.telemetry import Metrics

log = logging.getLogger("parallax.pipeline")


class Asker(NamedTuple):
    """On whose behalf, by when (loop time at which inference must have begun), and whether nobody sits and waits for it."""

    caller: str = ""
    deadline: float | None = None
    background: bool = False

    @property
    def holder(self) -> str:
        """Whose places in a queue it takes: a caller's background work leaves room for that caller's other work."""
        return f"{self.caller}, background" if self.background else self.caller


ANYBODY = Asker()


class Pipeline:
    """What the service does with an image."""

    def __init__(self, registry: Registry, decoder: Decoder, metrics: Metrics, activity: Activity) -> None:
        """It owns none of them."""
        self._registry = registry
        self._decoder = decoder
        self._metrics = metrics
        self._activity = activity

    def check(self, backend: str | None, version: str | None, asker: Asker) -> None:
        """Raise what `classify` would raise of a request whatever its image is: now, before the body is read."""
        running = self._registry.get(backend, version)
        try:
            running.admission.check(asker.holder, asker.deadline)
        except Overloaded:
            running.counters.refused += 1
            raise

    async def classify(
        self, data: bytes, *, backend: str | None = None, version: str | None = None, top: int = 3, asker: Asker = ANYBODY
    ) -> Prediction:
        """Classify one encoded image with one backend (none named: the default). Raises `ImageError` or `ServiceError`."""
        return await self.classify_with(self._registry.get(backend, version), data, top=top, asker=asker)

    async def classify_with(self, running: Running, data: bytes, *, top: int = 3, asker: Asker = ANYBODY) -> Prediction:
        """`classify`, for who has chosen already: a scoring run keeps its version whatever is served meanwhile."""
        begun = time.perf_counter()
        self._activity.mark()
        counters = running.counters
        try:
            with running.admission.permit(asker.holder, asker.deadline):
                inferred = await self._infer(running, data, asker)
        except Overloaded:
            counters.refused += 1
            raise
        except Unanswered:
            counters.failed += 1
            raise
        return self._told(running, inferred, time.perf_counter() - begun, top)

    async def classify_all(
        self, running: Running, images: Sequence[bytes], *, top: int = 3, asker: Asker = ANYBODY
    ) -> list[Prediction | ParallaxError]:
        """`classify_with` for some images that one caller hands over together: each has its own result, or its own error."""
        if len(images) < 2 or not running.backend.decodes:
            return await asyncio.gather(*[self._attempt(running, data, top, asker) for data in images])
        begun = time.perf_counter()
        self._activity.mark()
        try:
            with running.admission.permit(asker.holder, asker.deadline, len(images)):
                found = await running.batcher.submit_all(images, asker.deadline, caller=asker.caller, background=asker.background)
        except Overloaded as exc:
            running.counters.refused += len(images)
            return [exc] * len(images)
        except ParallaxError as exc:
            return [exc] * len(images)
        outcomes: list[Prediction | ParallaxError] = []
        for data, one in zip(images, found, strict=True):
            if isinstance(one, TooBig):
                outcomes.append(await self._attempt(running, data, top, asker))
            elif isinstance(one, Exception):
                outcomes.append(problem := _said(running, one))
                running.counters.failed += isinstance(problem, Unanswered)
            else:  # each has its own end, whenever the last of them has its
                outcomes.append(self._told(running, one, (one.inferred_at or time.perf_counter()) - begun, top))
        return outcomes

    async def compare(
        self, data: bytes, *, backends: Sequence[str] = (), top: int = 3, asker: Asker = ANYBODY
    ) -> list[tuple[str, Prediction | ParallaxError]]:
        """Classify one image with several backends at once (none named: all). Each has its own result or its own error."""
        names = list(dict.fromkeys(backends)) or sorted({running.identity.name for running in self._registry.running})

        async def one(name: str) -> Prediction | ParallaxError:
            try:
                return await self.classify(data, backend=name, top=top, asker=asker)
            except ParallaxError as exc:
                return exc

        return list(zip(names, await asyncio.gather(*map(one, names)), strict=True))

    async def _attempt(self, running: Running, data: bytes, top: int, asker: Asker) -> Prediction | ParallaxError:
        try:
            return await self.classify_with(running, data, top=top, asker=asker)
        except ParallaxError as exc:
            return exc

    def _told(self, running: Running, inferred: Inferred, total: float, top: int) -> Prediction:
        """The answer after `total` seconds, which is counted."""
        running.counters.answered += 1
        timings = Timings(max(0.0, total - inferred.decode - inferred.infer), inferred.decode, inferred.infer, total)
        identity = running.identity
        self._metrics.observe(identity, timings)
        return Prediction(identity, rank(inferred.scores, identity.labels, top), timings, inferred.scores)

    async def _infer(self, running: Running, data: bytes, asker: Asker) -> Inferred:
        batcher = running.batcher
        try:
            if running.backend.decodes:
                try:
                    return await batcher.submit(data, asker.deadline, caller=asker.caller, background=asker.background)
                except TooBig:
                    pass  # it waits for its turn twice, which holds up nobody but itself
            try:
                async with asyncio.timeout_at(asker.deadline):
                    decoded = await self._decoder.run(running.backend.prepare, data)
            except TimeoutError:
                raise DeadlineExceeded("The deadline passed before the image was decoded.") from None
            inferred = await batcher.submit(decoded.value, asker.deadline, caller=asker.caller, background=asker.background)
            return inferred._replace(decode=decoded.took, decoded_at=decoded.at, ahead=True)
        except ParallaxError:
            raise
        except Exception as exc:
            raise _said(running, exc) from exc


def _said(running: Running, reason: Exception) -> ParallaxError:
    """What a caller is told of a failure: one that is no problem of ours stands in the log."""
    if isinstance(reason, ParallaxError):
        return reason
    about = {"backend": running.identity.name, "version": running.identity.version}
    log.error("inference failed", extra=about, exc_info=reason)
    return BackendFailed(f"Backend {running.identity.name!r} failed on this batch. The log has the cause.")

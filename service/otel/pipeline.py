"""The pipeline of a service that is traced."""

import asyncio
import time
from collections.abc import Sequence

from models.errors import ParallaxError
from service.domain import Inferred, Prediction
from service.pipeline import ANYBODY, Asker, Pipeline
from service.running import Running
from service.tracing import HERE, Span, model_facts, step


class TracedPipeline(Pipeline):
    """Tells of each backend's stages, once they are over and measured anyway. A service that is not traced has none of this."""

    async def classify_with(self, running: Running, data: bytes, *, top: int = 3, asker: Asker = ANYBODY) -> Prediction:
        identity = running.identity
        with step(f"classify {identity.name}", model_facts(identity)):
            return await super().classify_with(running, data, top=top, asker=asker)

    async def classify_all(
        self, running: Running, images: Sequence[bytes], *, top: int = 3, asker: Asker = ANYBODY
    ) -> list[Prediction | ParallaxError]:
        return await asyncio.gather(*[self._attempt(running, data, top, asker) for data in images])  # each is its own step

    async def _infer(self, running: Running, data: bytes, asker: Asker) -> Inferred:
        began = time.perf_counter()
        inferred = await super()._infer(running, data, asker)
        span = HERE.get()
        if span is not None and span.recording:
            _stages(span, running, inferred, began)
        return inferred


def _stages(span: Span, running: Running, inferred: Inferred, began: float) -> None:
    """Queue, decode and infer. What is left between them is waking threads, and others of the same batch being decoded."""
    decoding, inferring = inferred.decoded_at - inferred.decode, inferred.inferred_at - inferred.infer
    queue = (inferred.decoded_at, inferring) if inferred.ahead else (began, decoding)
    span.past("queue", *queue, {})
    span.past("decode", decoding, inferred.decoded_at, {})
    if not running.backend.remote:  # which tells of itself, around its calls
        span.past(
            "infer", inferring, inferred.inferred_at, model_facts(running.identity) | {"parallax.batch.size": inferred.batch}
        )

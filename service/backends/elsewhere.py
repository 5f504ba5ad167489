"""A classifier behind a remote service: one image a call, labels learnt from an answer, a look at the start.

What differs from service to service is its request and its reply: see `azure_ml.py` and `custom_vision.py`.
"""

import asyncio
import io
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from models.errors import ParallaxError
from service.backends.remote import Remote
from service.domain import Identity, Inferred, Scores
from service.tally import Tally
from service.tracing import model_facts, step

log = logging.getLogger("parallax.remote")

FIRST_CHECK_S = 1.0
"""Between looks at a service that has not answered yet; each pause is twice the one before."""

SUM_TOLERANCE = 0.02
"""How far the probabilities of one image may be from 1 together, after rounding."""


class Elsewhere(ABC):
    """Up to `max_in_flight` calls at a time. It serves before the service has ever answered."""

    remote = True
    decodes = False
    tunable = None
    max_batch_size = 1
    looks = True
    """Whether it asks about a generated image at the start, until the service has answered once."""
    max_check_s = 60.0
    """Between looks at most."""

    def __init__(self, name: str, labels: Sequence[str], max_in_flight: int, remote: Remote) -> None:
        """`labels`: as configured; empty: as the first answer has them."""
        self.identity = Identity(name, name, "1", "unknown", name, tuple(labels))
        self.max_in_flight = max_in_flight
        self._given = bool(labels)
        self._remote = remote
        self._check: asyncio.Task[None] | None = None

    @property
    def tally(self) -> Tally:
        """What its calls came to."""
        return self._remote.tally

    async def start(self) -> None:
        """Open the pool, and begin to look."""
        self._remote.open()
        if self.looks:
            self._check = asyncio.create_task(self._look(), context=Context())  # it belongs to no request's trace

    @abstractmethod
    def prepare(self, data: bytes) -> bytes:
        """The body of a request. The image is decoded first: a bad one fails here, and costs nothing there."""

    @abstractmethod
    def body(self, image: bytes) -> bytes:
        """The body of a request about an image that can go as it is."""

    @abstractmethod
    def probabilities(self, reply: object) -> Mapping[str, float]:
        """What a reply says of its one image, by label. Raises `ValueError`, saying what is wrong with it."""

    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """Whom it asks, and on which terms, for `/v1/backends`."""

    async def infer(self, batch: Sequence[bytes]) -> Sequence[Inferred | Exception]:
        """Ask about each image."""
        outcomes: list[Inferred | Exception] = []
        for body in batch:
            started = time.perf_counter()  # a loop's own time may have steps of a millisecond
            with step("infer", model_facts(self.identity) | {"parallax.batch.size": 1}):
                scores = self._scores(await self._remote.ask(body))
            ended = time.perf_counter()
            outcomes.append(Inferred(scores, 0.0, ended - started, started, ended))
        return outcomes

    def describe(self) -> Mapping[str, Any]:
        """Whom it asks, how that went last, and what it costs."""
        return {
            "state": self._remote.state,
            "reason": self._remote.reason,
            "plan": {"batch_size": 1, "lanes": self.max_in_flight, "threads": 1},
            "remote": {"host": self._remote.host, **self.facts()},
        }

    async def close(self) -> None:
        """Look no more, and close the pool."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait((self._check,))
        await self._remote.close()

    async def _look(self) -> None:
        body = self.body(_sample())
        pause = FIRST_CHECK_S
        while self._remote.state != "ready":  # a request may get there first
            try:
                await self.infer([body])
            except ParallaxError as exc:
                described = {"backend": self.identity.name, "host": self._remote.host, "reason": str(exc)}
                log.warning("remote backend does not answer", extra=described)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self.max_check_s)
        log.info("remote backend answers", extra={"backend": self.identity.name, "labels": list(self.identity.labels)})

    def _scores(self, reply: object) -> Scores:
        """Float32 [classes] in the order of the labels, which the first reply gives if the settings do not."""
        try:
            found = self.probabilities(reply)
        except ValueError as exc:
            raise self._remote.disown(reply, str(exc)) from None
        if not self.identity.labels:
            self.identity = replace(self.identity, labels=tuple(found))
        if found.keys() != set(self.identity.labels):
            raise self._remote.disown(reply, self._other_labels(found))
        return np.array([found[label] for label in self.identity.labels], np.float32)

    def _other_labels(self, found: Mapping[str, float]) -> str:
        name = self.identity.name
        if self._given:
            return f"answers with the labels {', '.join(found)}, which are not those of PARALLAX_{name.upper()}__LABELS"
        return f"answers with other labels than before ({', '.join(found)}): POST /v1/backends/{name}/reload to take them"


def one_of(labels: object, probabilities: object) -> dict[str, float]:
    """Probabilities [classes] of labels that exclude each other. Raises `ValueError`, which goes on after the host's name."""
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
        raise ValueError("answered without a list of labels")
    if len(set(labels)) != len(labels):
        raise ValueError("answered with a label twice")
    if not isinstance(probabilities, list) or len(probabilities) != len(labels):
        raise ValueError("answered without a probability for each label")
    found: dict[str, float] = {}
    for label, one in zip(labels, probabilities, strict=True):
        if isinstance(one, bool) or not isinstance(one, int | float) or not math.isfinite(one) or not 0 <= one <= 1:
            raise ValueError("answered with probabilities that are none")
        found[str(label)] = float(one)
    if abs(sum(found.values()) - 1) > SUM_TOLERANCE:
        total = sum(found.values())
        raise ValueError(f"answered with probabilities that sum to {total:.2f}, as a model of several labels an image does")
    return found


def _sample() -> bytes:
    """A picture of soft colours, as a JPEG."""
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()

"""An AutoML image classifier behind an online endpoint of Azure ML.

Request and reply are those of Microsoft's "Data schemas to train computer vision models with automated machine learning", section
"Data schema for online scoring" (learn.microsoft.com/azure/machine-learning/reference-automl-images-schema): images in base64 go
there, `[{"probs": [...], "labels": [...]}]` comes back. Status codes: "Troubleshoot online endpoints deployment and scoring".
"""

import asyncio
import base64
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from models import imaging
from models.errors import ParallaxError
from models.portable import portable
from service.backends.remote import Remote
from service.domain import Identity, Inferred, Scores
from service.errors import BackendFailed
from service.settings import Settings

log = logging.getLogger("parallax.azure_ml")

BEFORE, BEHIND = b'{"input_data":{"columns":["image"],"index":[0],"data":["', b'"]}}'

HINTS: Mapping[int, str] = {
    401: "It does not know the key: set PARALLAX_AZURE_ML__KEY.",
    403: "It does not accept the key: set PARALLAX_AZURE_ML__KEY.",
    404: "Look at PARALLAX_AZURE_ML__ENDPOINT and __DEPLOYMENT: no deployment gets this traffic.",
    413: "Lower PARALLAX_AZURE_ML__MAX_REQUEST_BYTES.",
    424: "The model behind it failed; the endpoint's own log says why.",
} | dict.fromkeys((301, 302, 303, 307, 308), "Set PARALLAX_AZURE_ML__ENDPOINT to the address that answers.")

FIRST_CHECK_S, MAX_CHECK_S = 1.0, 60.0
"""Between looks at an endpoint that has not answered yet."""

SUM_TOLERANCE = 0.02
"""How far the probabilities of one image may be from 1 together, after rounding."""


class AzureMLBackend:
    """One image a call, up to `max_in_flight` calls at a time. It serves before the endpoint has ever answered."""

    remote = True
    decodes = False
    tunable = None
    max_batch_size = 1

    def __init__(self, settings: Settings) -> None:
        """Needs `settings.azure_ml.endpoint`."""
        chosen = settings.azure_ml
        if chosen.endpoint is None:
            raise BackendFailed("PARALLAX_AZURE_ML__ENDPOINT is not set.")
        key = chosen.key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"}
        if chosen.deployment:
            headers["azureml-model-deployment"] = chosen.deployment
        self.identity = Identity("azure_ml", "azure_ml", "1", "unknown", "azure_ml", tuple(chosen.labels))
        self.max_in_flight = chosen.max_in_flight
        self._settings = chosen
        self._limits = imaging.Limits(settings.max_body_bytes, settings.max_pixels)
        self._max_image_bytes = (chosen.max_request_bytes - len(BEFORE) - len(BEHIND)) // 4 * 3
        self._remote = Remote(
            "azure_ml",
            chosen.endpoint,
            headers,
            secret=key,
            timeout_s=chosen.timeout_s,
            max_in_flight=chosen.max_in_flight,
            hints=HINTS,
        )
        self._check: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the pool, and begin to ask about a generated image until the endpoint has answered once."""
        self._remote.open()
        self._check = asyncio.create_task(self._look())

    def prepare(self, data: bytes) -> bytes:
        """The body of a request. The image is decoded first: a bad one fails here, and costs nothing there."""
        return _body(portable(data, self._limits, self._max_image_bytes))

    async def infer(self, batch: Sequence[bytes]) -> Sequence[Inferred | Exception]:
        """Ask the endpoint about each image."""
        outcomes: list[Inferred | Exception] = []
        for body in batch:
            started = asyncio.get_running_loop().time()
            scores = self._scores(await self._remote.ask(body))
            outcomes.append(Inferred(scores, 0.0, asyncio.get_running_loop().time() - started))
        return outcomes

    def describe(self) -> Mapping[str, Any]:
        """Whom it asks, how that went last, and what it costs."""
        return {
            "state": self._remote.state,
            "reason": self._remote.reason,
            "plan": {"batch_size": 1, "lanes": self.max_in_flight, "threads": 1},
            "remote": {
                "host": self._remote.host,
                "deployment": self._settings.deployment,
                "timeout_s": self._settings.timeout_s,
                "usd_per_1000": self._settings.usd_per_1000,
            },
        }

    async def close(self) -> None:
        """Look no more, and close the pool."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.wait((self._check,))
        await self._remote.close()

    async def _look(self) -> None:
        body = _body(_sample())
        pause = FIRST_CHECK_S
        while self._remote.state != "ready":  # a request may get there first
            try:
                await self.infer([body])
            except ParallaxError:  # which the remote has noted and logged
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_CHECK_S)
        log.info("azure_ml answers", extra={"host": self._remote.host, "labels": list(self.identity.labels)})

    def _scores(self, reply: object) -> Scores:
        """Float32 [classes] in the order of the labels, which the first reply gives if the settings do not."""
        try:
            found = _probabilities(reply)
        except ValueError as exc:
            raise self._remote.disown(reply, str(exc)) from None
        if not self.identity.labels:
            self.identity = replace(self.identity, labels=tuple(found))
        if set(found) != set(self.identity.labels):
            raise self._remote.disown(reply, self._other_labels(found))
        return np.array([found[label] for label in self.identity.labels], np.float32)

    def _other_labels(self, found: Mapping[str, float]) -> str:
        if self._settings.labels:
            return f"answers with the labels {', '.join(found)}, which are not those of PARALLAX_AZURE_ML__LABELS"
        return f"answers with other labels than before ({', '.join(found)}): POST /v1/backends/azure_ml/reload to take them"


def _body(image: bytes) -> bytes:
    return BEFORE + base64.b64encode(image) + BEHIND


def _probabilities(reply: object) -> Mapping[str, float]:
    """What a reply says of its one image, by label. Raises `ValueError`, saying what is wrong with it."""
    if isinstance(reply, str):  # scoring scripts of before MLflow encode twice
        with suppress(ValueError, RecursionError):
            reply = json.loads(reply)
    if not isinstance(reply, list) or len(reply) != 1 or not isinstance(reply[0], dict):
        raise ValueError('answered otherwise than with [{"probs": [...], "labels": [...]}], as an AutoML image classifier does')
    probs, labels = reply[0].get("probs"), reply[0].get("labels")
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
        raise ValueError("answered without a list of labels")
    if len(set(labels)) != len(labels):
        raise ValueError("answered with a label twice")
    if not isinstance(probs, list) or len(probs) != len(labels):
        raise ValueError("answered without a probability for each label")
    if not all(isinstance(one, int | float) and math.isfinite(one) and 0 <= one <= 1 for one in probs):
        raise ValueError("answered with probabilities that are none")
    if abs(sum(probs) - 1) > SUM_TOLERANCE:
        raise ValueError(f"answered with probabilities that sum to {sum(probs):.2f}, as a model of several labels an image does")
    return dict(zip(labels, map(float, probs), strict=True))


def _sample() -> bytes:
    """A picture of soft colours, as a JPEG."""
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()

"""An AutoML image classifier behind an online endpoint of Azure ML.

Request and reply are those of Microsoft's "Data schemas to train computer vision models with automated machine learning", section
"Data schema for online scoring" (learn.microsoft.com/azure/machine-learning/reference-automl-images-schema): images in base64 go
there, `[{"probs": [...], "labels": [...]}]` comes back. Status codes: "Troubleshoot online endpoints deployment and scoring".
"""

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from models import imaging
from models.portable import portable
from service.backends.elsewhere import Elsewhere, one_of
from service.backends.remote import Remote
from service.backends.replies import by_status
from service.errors import BackendFailed
from service.settings import Settings
from service.tally import Tally

BEFORE, BEHIND = b'{"input_data":{"columns":["image"],"index":[0],"data":["', b'"]}}'

HINTS: Mapping[int, str] = {
    401: "It does not know the key: set PARALLAX_AZURE_ML__KEY.",
    403: "It does not accept the key: set PARALLAX_AZURE_ML__KEY.",
    404: "Look at PARALLAX_AZURE_ML__ENDPOINT and __DEPLOYMENT: no deployment gets this traffic.",
    413: "Lower PARALLAX_AZURE_ML__MAX_REQUEST_BYTES.",
    424: "The model behind it failed; the endpoint's own log says why.",
} | dict.fromkeys((301, 302, 303, 307, 308), "Set PARALLAX_AZURE_ML__ENDPOINT to the address that answers.")


class AzureMLBackend(Elsewhere):
    """Images as JSON, one a call."""

    def __init__(self, settings: Settings) -> None:
        """Needs `settings.azure_ml.endpoint`."""
        chosen = settings.azure_ml
        if chosen.endpoint is None:
            raise BackendFailed("PARALLAX_AZURE_ML__ENDPOINT is not set.")
        key = chosen.key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"}
        if chosen.deployment:
            headers["azureml-model-deployment"] = chosen.deployment
        self._settings = chosen
        self._limits = imaging.Limits(settings.max_body_bytes, settings.max_pixels)
        self._max_image_bytes = (chosen.max_request_bytes - len(BEFORE) - len(BEHIND)) // 4 * 3
        remote = Remote(
            "azure_ml",
            chosen.endpoint,
            headers,
            secret=key,
            timeout_s=chosen.timeout_s,
            explain=by_status(HINTS),
            tally=Tally(usd_per_call=None if chosen.usd_per_1000 is None else chosen.usd_per_1000 / 1000),
        )
        super().__init__("azure_ml", chosen.labels, chosen.max_in_flight, remote)

    def prepare(self, data: bytes) -> bytes:
        return self.body(portable(data, self._limits, self._max_image_bytes))

    def body(self, image: bytes) -> bytes:
        return BEFORE + base64.b64encode(image) + BEHIND

    def probabilities(self, reply: object) -> Mapping[str, float]:
        if isinstance(reply, str):  # scoring scripts of before MLflow encode twice
            with suppress(ValueError, RecursionError):
                reply = json.loads(reply)
        if not isinstance(reply, list) or len(reply) != 1 or not isinstance(reply[0], dict):
            raise ValueError(
                'answered otherwise than with [{"probs": [...], "labels": [...]}], as an AutoML image classifier does'
            )
        probs, labels = reply[0].get("probs"), reply[0].get("labels")
        return one_of(labels, probs)

    def facts(self) -> Mapping[str, Any]:
        return {
            "deployment": self._settings.deployment,
            "timeout_s": self._settings.timeout_s,
            "usd_per_1000": self._settings.usd_per_1000,
        }

"""The real Custom Vision SDK, pointed at a server on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from azure.cognitiveservices.vision.customvision.prediction import CustomVisionPredictionClient
from azure.cognitiveservices.vision.customvision.prediction.models import CustomVisionErrorException
from msrest.authentication import ApiKeyCredentials

from tests.support.server import PATIENCE_S


@dataclass(frozen=True)
class Target:
    """Where a published iteration is, and what it takes to ask it. Its labels are dark, grey and bright."""

    endpoint: str
    key: str
    project: str
    published_name: str
    nests_refusals: bool = False
    """The gateway's errors are `{"error": {...}}`, of which the SDK makes one that knows no code."""

    @contextmanager
    def client(self, key: str | None = None) -> Iterator[CustomVisionPredictionClient]:
        """A client as anybody makes it, but that no proxy of the machine is asked."""
        credentials = ApiKeyCredentials(in_headers={"Prediction-key": self.key if key is None else key})
        client = CustomVisionPredictionClient(self.endpoint, credentials)
        client.config.proxies.use_env_settings = False
        client.config.connection.timeout = PATIENCE_S
        with client:
            yield client

    def classify(self, image: Any, **options: Any) -> Any:  # noqa: ANN401  # the SDK is untyped
        """One call of `classify_image`, with the names replaced by `options`."""
        names = {"project_id": self.project, "published_name": self.published_name} | options
        with self.client() as client:
            return client.classify_image(image_data=image, **names)


@contextmanager
def refused(status: int, code: str | None) -> Iterator[None]:
    """The block's call raises the SDK's own error, which knows the code, if there is one to know."""
    with pytest.raises(CustomVisionErrorException) as caught:
        yield
    assert (caught.value.response.status_code, caught.value.error.code) == (status, code)
    assert bool(caught.value.error.message) == (code is not None)

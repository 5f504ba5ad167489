"""What a refusal of Custom Vision means, in each of the shapes that it comes in.

The service itself says `{"code": "...", "message": "..."}`, at times with capital keys; the gateway before it
`{"error": {"code": "429", "message": "..."}}` or `{"statusCode": 404, "message": "..."}`; others send HTML, `null` or nothing.
Codes: `CustomVisionErrorCodes` of the SDK, 3.1.1.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from service.backends.pauses import from_words
from service.backends.replies import Refusal

PREFIX = "PARALLAX_CUSTOM_VISION__"
ENDPOINT = f"It does not serve predictions at this address: look at {PREFIX}ENDPOINT."
KEY = f"It does not take the key: set {PREFIX}KEY to a key of the prediction resource whose address is {PREFIX}ENDPOINT."
PROJECT = f"It has no such project: look at {PREFIX}PROJECT, and whether the key is of that project's prediction resource."
NAME = f"No iteration of the project is published under this name: look at {PREFIX}PUBLISHED_NAME."

BY_CODE: Mapping[str, str] = {
    "BadRequestInvalidIds": PROJECT,
    "BadRequestInvalidPublishName": NAME,
    "BadRequestIterationNotPublished": NAME,
    "ErrorPredictionModelNotFound": NAME,
    "NotFoundIteration": NAME,
    "NotFoundProject": PROJECT,
    "BadRequestExceededQuota": "Its own quota is spent.",
    "BadRequestImageDimensions": "The image is too long and narrow for it (25:1 at most).",
    "BadRequestImageFormat": "It does not read this image.",
    "BadRequestImageSizeBytes": "The image is too large for it.",
}
BY_STATUS: Mapping[int, str] = {401: KEY, 403: KEY, 404: ENDPOINT} | dict.fromkeys((301, 302, 303, 307, 308), ENDPOINT)
BY_KIND: Mapping[str, str] = {"project": PROJECT, "iteration": NAME}
"""By a word of a 404's message, where the code is none that is known."""


def explain(status: int, said: bytes) -> Refusal:
    """Which setting is wrong, and the seconds that the words ask for."""
    code, message = _read(said)
    hint = BY_CODE.get(code)
    if hint is None and status == 404:
        hint = next((told for word, told in BY_KIND.items() if word in message.lower()), None)
    return Refusal(hint or BY_STATUS.get(status), from_words(message))


def _read(said: bytes) -> tuple[str, str]:
    """Code and message, each empty if there is none; words in no shape at all are the message."""
    found: Any = None
    with suppress(ValueError, RecursionError):
        found = json.loads(said)
    if not isinstance(found, dict):
        return "", said.decode("utf-8", "replace")
    inner = found.get("error", found)
    lower = {str(key).lower(): value for key, value in inner.items()} if isinstance(inner, dict) else {"message": inner}
    return str(lower.get("code") or ""), str(lower.get("message") or "")

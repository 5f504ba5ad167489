"""What a refusal of Custom Vision means. Codes: `CustomVisionErrorCodes` of the SDK, 3.1.1."""

from collections.abc import Mapping

from models import refusals
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
    code, message = refusals.code_and_message(said.decode("utf-8", "replace"))
    hint = BY_CODE.get(code)
    if hint is None and status == 404:
        hint = next((told for word, told in BY_KIND.items() if word in message.lower()), None)
    return Refusal(hint or BY_STATUS.get(status), refusals.from_words(message))

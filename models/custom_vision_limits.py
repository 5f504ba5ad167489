"""What Azure Custom Vision takes.

"Limits and quotas", learn.microsoft.com/azure/ai-services/custom-vision-service/limits-and-quotas, as it stood in January
2025, and not tried on the live service.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tier: TypeAlias = Literal["F0", "S0"]

MAX_BATCH = 64
MAX_BATCH_TAGS = 20
MAX_BATCH_BYTES = 8_000_000
"""Our own: of the images of a batch, before base64. The SDK holds about four times as much while it sends one."""

MAX_TRAINING_BYTES = 6_000_000
MAX_PREDICTION_BYTES = 4_000_000
"""Whichever megabyte the service means."""
MAX_SIDE = 10_240
MAX_ASPECT = 25
MIN_IMAGES_PER_TAG = 5


@dataclass(frozen=True)
class Limits:
    """Of a tier. Rates are in calls a second."""

    max_images: int
    max_tags: int
    training_rate: float
    prediction_rate: float
    stored_prediction_rate: float
    max_predictions: int | None
    """A month; None: as many as one pays for."""


LIMITS: Mapping[Tier, Limits] = {
    "F0": Limits(5_000, 50, 10, 2, 2, 10_000),
    "S0": Limits(100_000, 500, 10, 20, 10, None),
}

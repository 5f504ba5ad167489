"""How long to wait before a new attempt."""

import random

FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 4.0


def before_attempt(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next attempt: growing, and random, so that callers don't come back together."""
    pause = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
    return max(retry_after or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret

"""How long to wait before a new attempt."""

import random
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 4.0

SECONDS = re.compile(r"(?:retry after|try again in)\s+(\d{1,9})\s+second", re.IGNORECASE)
"""As Azure's gateways word it: `Please retry after 1 second.`, `Try again in 86400 seconds.`"""


def before_attempt(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next attempt: growing, and random, so that callers don't come back together."""
    pause = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
    return max(retry_after or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret


def from_header(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a time zone
        return None


def from_words(text: str) -> float | None:
    """Seconds that the words of a refusal ask for."""
    found = SECONDS.search(text)
    return float(found[1]) if found else None

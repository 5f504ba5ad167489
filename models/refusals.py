"""What Azure's services say when they refuse: in a header, in words, in JSON of several shapes. Nothing promises any of them."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SECONDS = re.compile(r"(?:again in|retry after|retry in)\s+(\d{1,9})\s+second", re.IGNORECASE)
"""As their gateways word it: `Please retry after 1 second.`, `Try again in 86400 seconds.`"""


def code_and_message(text: str) -> tuple[str, str]:
    """Of a failure's body, each empty if there is none.

    The service says `{"code": "...", "message": "..."}`, at times with capital keys; the gateway before it
    `{"error": {"code": "429", "message": "..."}}` or `{"statusCode": 404, "message": "..."}`. Words in no shape are the message,
    unless they are HTML.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return "", "" if text.lstrip().startswith("<") else text
    if not isinstance(body, Mapping):
        return "", ""
    found = _lower(body)
    if isinstance(inner := found.get("error"), Mapping):
        found = _lower(inner)
    return str(found.get("code") or found.get("statuscode") or ""), str(found.get("message") or "")


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


def _lower(body: Mapping[object, object]) -> dict[str, object]:
    return {str(key).lower(): value for key, value in body.items()}

"""Two headers of replies, read leniently: a load test must not end at a header."""

import math

MOST_RETRY_AFTER_S = 30.0


def read_server_timing(value: str) -> dict[str, float]:
    """Milliseconds by name, of a Server-Timing header (W3C Server Timing); what has none is left out."""
    found: dict[str, float] = {}
    for entry in value.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, text = parameter.partition("=")
            try:
                if key.strip().lower() == "dur":
                    found[name] = float(text.strip().strip('"'))
            except ValueError:
                continue
    return found


def wait_for(retry_after: str) -> float:
    """Seconds of a Retry-After header, bounded; one second if it says none."""
    try:
        seconds = float(retry_after)
    except ValueError:
        return 1.0
    return min(MOST_RETRY_AFTER_S, max(0.0, seconds)) if math.isfinite(seconds) else 1.0

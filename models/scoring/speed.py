"""How long answers take, how many there are in a second, and what they cost."""

from collections.abc import Iterable, Sequence

import numpy as np

from models.scoring.facts import BackendFacts
from models.scoring.results import Cost, Latency, Percentiles
from models.scoring.rows import Answer


def latency(answers: Iterable[Answer]) -> Latency | None:
    """Percentiles of the times of answered images; None if there are none."""
    times = [answer.times for answer in answers if answer.error is None and answer.times[0] is not None]
    if not times:
        return None
    total, queue, decode, infer = ([time for time in column if time is not None] for column in zip(*times, strict=True))
    return Latency(
        total=_percentiles(total),
        queue=_percentiles(queue) if queue else None,
        decode=_percentiles(decode) if decode else None,
        infer=_percentiles(infer) if infer else None,
        quantiles_ms=tuple(np.percentile(total, np.arange(101)).tolist()),
    )


def rate(answered: int, facts: BackendFacts) -> float | None:
    """Answers a second; None if nobody took the time, or there are none."""
    return answered / facts.seconds if facts.seconds and answered else None


def cost(answered: int, facts: BackendFacts) -> Cost | None:
    """By the call, or by the share of an hour for which a machine was busy; None without a price, or without answers."""
    if not answered:
        return None
    if facts.usd_per_call is not None:
        return Cost(basis="call", usd_per_1000=facts.usd_per_call * 1000, usd=facts.usd_per_call * answered)
    if facts.usd_per_hour is None or facts.seconds is None:
        return None
    usd = facts.usd_per_hour * facts.seconds / 3600
    return Cost(basis="hour", usd_per_1000=usd / answered * 1000, usd=usd)


def _percentiles(times: Sequence[float]) -> Percentiles:
    """Between two images, linearly: the seventh definition of Hyndman and Fan, 1996, doi:10.2307/2684934."""
    p50, p90, p95, p99, most = np.percentile(times, [50, 90, 95, 99, 100]).tolist()
    return Percentiles(p50=p50, p90=p90, p95=p95, p99=p99, max=most)

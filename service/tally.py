"""What the calls of a remote backend came to, for `/v1/backends` and for metrics."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
"""Whether calls are let through, none, or one that decides."""

Outcome: TypeAlias = Literal["answered", "throttled", "refused", "failed", "timed_out", "unreachable", "given_up"]
"""Of one HTTP request: `refused` says why in its status, `failed` is 5xx or no sense, `given_up`: nobody wanted it any more."""


@dataclass
class Tally:
    """Counts since the process began: they outlive the backend when it is loaded anew."""

    calls: Counter[Outcome] = field(default_factory=Counter)
    """HTTP requests."""
    retries: int = 0
    """Of these, those that were not an image's first."""
    waited_s: float = 0.0
    """For the rate to allow a request, all together."""
    month_calls: int = 0
    """By all who share the budget, as the database knew when it was last asked, without what this process holds in hand."""
    breaker: BreakerState = "closed"
    usd_per_call: float | None = None
    """As configured; None if nobody said."""
    metered: bool = False
    """Whether every call costs, even if nobody said how much: nobody makes such calls unless told to."""
    usd: float = 0.0
    """What the requests cost, at that price."""

    def count(self, outcome: Outcome) -> None:
        """One more. Every request counts as a paid one: which are not, nobody has confirmed."""
        self.calls[outcome] += 1
        if outcome != "unreachable":
            self.usd += self.usd_per_call or 0.0

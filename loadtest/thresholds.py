"""What a test must keep, read from TOML."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loadtest.plan import KINDS
from loadtest.results import Tally

DEFAULT = Path(__file__).with_name("thresholds.toml")
Positive = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


class ThresholdsError(ValueError):
    """A file of thresholds can't be used: the message says why."""


class Limits(BaseModel):
    """Of one kind of users; None: not asked for."""

    model_config = ConfigDict(extra="forbid", strict=False)

    p50_ms: Positive | None = None
    p95_ms: Positive | None = None
    p99_ms: Positive | None = None
    max_failure_ratio: Ratio | None = None
    max_shed_ratio: Ratio | None = None
    min_requests_per_s: Positive | None = None


@dataclass(frozen=True)
class Line:
    """One threshold held against what was measured."""

    kind: str
    name: str
    limit: float
    measured: float | None
    """None: there was nothing to measure."""
    kept: bool


class Thresholds(BaseModel):
    """By kind."""

    model_config = ConfigDict(extra="forbid")

    limits: dict[str, Limits]

    def of(self, kind: str) -> Limits:
        """A kind's own, and `all` where it says nothing."""
        common = self.limits.get("all", Limits()).model_dump(exclude_none=True)
        return Limits.model_validate(common | self.limits.get(kind, Limits()).model_dump(exclude_none=True))

    def judge(self, kind: str, tally: Tally, seconds: float) -> Sequence[Line]:
        """Every threshold of a kind against what came of it in so many seconds. No answers at all keep no latency."""
        lines = []
        for name, limit in self.of(kind).model_dump(exclude_none=True).items():
            if name in PERCENTILES:
                measured = tally.took.percentile(PERCENTILES[name])
                kept = measured is not None and measured <= limit
            elif name == "min_requests_per_s":
                measured = tally.ok / seconds
                kept = measured >= limit
            else:
                measured = tally.ratio(tally.failed if name == "max_failure_ratio" else tally.shed)
                kept = measured <= limit
            lines.append(Line(kind, name, limit, measured, kept))
        return lines


def read_thresholds(path: Path = DEFAULT) -> Thresholds:
    """Raises `ThresholdsError`."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := set(found) - {"all", *KINDS}:
            raise ThresholdsError(f"{path}: there are no users {min(unknown)!r}; there are: all, {', '.join(KINDS)}")
        return Thresholds.model_validate({"limits": found})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ThresholdsError(f"{path}: {exc}") from exc
    except ValidationError as exc:
        places = [(".".join(map(str, error["loc"][1:])), error["msg"]) for error in exc.errors()]
        raise ThresholdsError("; ".join(f"{path}: {place}: {what}" for place, what in places)) from None

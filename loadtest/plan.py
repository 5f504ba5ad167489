"""What a load test is to do: values that travel as JSON from the command line to every locust process."""

import math
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from loadtest.shapes import SHAPES, Curve

Kind = Literal["classify", "compare", "customvision", "scoring", "bad"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The users that there are."""
MIX: dict[Kind, float] = {"classify": 90, "compare": 4, "customvision": 4, "scoring": 0.2, "bad": 1.8}
WARM_UP_S = 2.0
DRAIN_S = 10.0
"""How long after the end replies are waited for."""
STEPS = 240
"""Of the time line at most, so that a soak of hours is no bigger than a minute."""
LEAST_CALLERS = 4
"""Of each kind: one slow reply must not hold up the next."""
PATIENCE_S = 1.0
"""Callers are enough for replies that take so long, unless --users says how many there are."""
MOST_CALLERS = 2000


class Plan(BaseModel):
    """One test."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: Annotated[float, Field(gt=0)] | None = None
    """Requests a second at the shape's full level, all kinds together; None: a closed loop of `users`."""
    users: Annotated[int, Field(ge=1)] | None = None
    """Connections at most; in a closed loop, callers who wait for each reply."""
    poisson: bool = False
    shape: str = "steady"
    seconds: Annotated[float, Field(gt=0)] = 30
    warm_up_s: Annotated[float, Field(ge=0)] = WARM_UP_S
    drain_s: Annotated[float, Field(ge=0)] = DRAIN_S
    seed: int = 0
    mix: dict[Kind, Annotated[float, Field(ge=0)]] = Field(default_factory=lambda: dict(MIX))
    """Shares of requests (closed loop: of users); they need not add up to anything."""
    processes: Annotated[int, Field(ge=1)] = 1
    """Locust processes that send."""
    images: str | None = None
    """A zip to take images from; None: they are generated."""
    backend: str = ""
    """For classify, scoring and Custom Vision's route; empty: the server's default."""
    backends: str = ""
    """For compare, with commas between them; empty: all."""
    project: str = "3be7a5b2-9c5e-4f0e-8a51-2a9d6c1f0e77"
    """In Custom Vision's addresses; any will do unless the server has a list of them."""
    published_name: str = ""
    """In Custom Vision's addresses; empty: the backend's name."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.shape not in SHAPES:
            raise ValueError(f"there is no shape {self.shape!r}; there are: {', '.join(SHAPES)}")
        if not self.kinds:
            raise ValueError("the mix has no share above 0")
        if self.rate is None and self.users is None:
            raise ValueError("neither a rate nor a number of users")
        return self

    @property
    def kinds(self) -> list[Kind]:
        """Those that take part."""
        return [kind for kind in KINDS if self.mix.get(kind, 0) > 0]

    @property
    def curve(self) -> Curve:
        """The shape, for as long as is measured."""
        return SHAPES[self.shape](self.seconds)

    @property
    def warm_curve(self) -> Curve:
        """The same after a warm-up on its first level: what is sent in all."""
        later = self.warm_up_s
        points = self.curve.points
        return Curve(((0, points[0][1]), *((at + later, level) for at, level in points)) if later else points)

    @property
    def step_s(self) -> float:
        """Width of a step of the time line."""
        return max(1.0, math.ceil(self.seconds / STEPS))

    def share(self, kind: Kind) -> float:
        """Of a kind, of 1."""
        return self.mix.get(kind, 0) / sum(self.mix.values())

    def rate_of(self, kind: Kind) -> float:
        """Requests a second at the full level."""
        return (self.rate or 0) * self.share(kind)

    def expected(self) -> float:
        """Requests that fall due within the measured time, if there is a rate."""
        return (self.rate or 0) * self.curve.area()

    def callers(self, kind: Kind) -> int:
        """Locust users of a kind in an open loop."""
        wanted = self.users or min(MOST_CALLERS, math.ceil((self.rate or 0) * PATIENCE_S))
        return max(LEAST_CALLERS, self.processes, math.ceil(wanted * self.share(kind)))

"""Which variants of a version are tried, and in which order: the fastest on this machine first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.errors import BrokenModel, ModelError
from models.metadata import ModelCard, Precision, Variant
from models.runtime import runtime_of
from service.backends.base import Rival
from service.tuning import CUDA_PROVIDER, Fixed

EXACT_FIRST: Sequence[Precision] = ("fp32", "int8", "fp16")
ON_CUDA: Sequence[Precision] = ("fp16", "fp32", "int8")

NOISE = 0.05
"""How much faster a variant must be than a more exact one: speeds of two plans, each found by a search."""


@dataclass(frozen=True)
class Choice:
    """How a variant came to be the one that serves."""

    speeds: Mapping[Precision, float] = field(default_factory=dict)
    """Images/s, expected of each by what was known."""
    faults: Mapping[Precision, ModelError] = field(default_factory=dict)
    """Of those that were tried first and are not sound."""
    rivals: Sequence[Rival] = ()
    """The others, as far as their speed is not known here."""

    @property
    def note(self) -> str:
        """Who was passed over, and why."""
        return "; ".join(f"{precision} is passed over: {fault}" for precision, fault in self.faults.items())

    @property
    def fault(self) -> ModelError:
        """Why there is none to choose."""
        if len(self.faults) == 1:
            return next(iter(self.faults.values()))
        return BrokenModel("no variant is sound: " + "; ".join(f"{name}: {fault}" for name, fault in self.faults.items()))


def fastest_first(card: ModelCard, here: Mapping[Precision, float], provider: str) -> list[Variant]:
    """A version's variants in the order in which `auto` takes them.

    `here`: images/s that were measured on this machine. Who is not faster by more than noise stands behind the more exact one;
    where a speed is known from nowhere, the order is that of the provider's strengths.
    """
    order = ON_CUDA if provider == CUDA_PROVIDER else EXACT_FIRST
    left = sorted(card.variants, key=lambda variant: order.index(variant.precision))
    speeds = expected_speeds(card, here, provider)
    if any(variant.precision not in speeds for variant in left):
        return left
    ranked: list[Variant] = []
    while left:
        best = max(speeds[variant.precision] for variant in left)
        ranked.append(next(variant for variant in left if speeds[variant.precision] >= best / (1 + NOISE)))
        left.remove(ranked[-1])
    return ranked


def expected_speeds(card: ModelCard, here: Mapping[Precision, float], provider: str) -> dict[Precision, float]:
    """Images/s as measured here; of who was not, as `model.json` tells, brought to this machine by a variant that both know."""
    told = {one.precision: one.speed.images_per_second for one in card.variants if one.speed and one.speed.provider == provider}
    both = next((precision for precision in EXACT_FIRST if precision in told and precision in here), None)
    if here and both is None:
        return dict(here)
    factor = here[both] / told[both] if both else 1.0
    return {precision: round(speed * factor, 1) for precision, speed in told.items()} | dict(here)


def asked_for(card: ModelCard, precision: str) -> Variant:
    """The variant of a precision. Raises `BrokenModel` if the version has none."""
    asked = next((variant for variant in card.variants if variant.precision == precision), None)
    if asked is None:
        has = ", ".join(variant.precision for variant in card.variants)
        raise BrokenModel(f"PARALLAX_PRECISION={precision}, but this version has only {has}")
    return asked


def plan_key(card: ModelCard, variant: Variant, provider: str, fixed: Fixed) -> Sequence[str]:
    """What the best plan of a variant depends on beside the machine: its file, what runs it, and what is fixed."""
    return [card.name, variant.sha256, *runtime_of(provider), *fixed.words]

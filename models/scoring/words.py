"""Figures as people read them."""

from collections.abc import Sequence
from decimal import Decimal

from models.metadata import Accuracy, Change


def percent(share: float, digits: int = 1) -> str:
    """`94.1 %`."""
    return f"{share * 100:.{digits}f} %"


def interval(value: Accuracy) -> str:
    """`94.1 % (92.8 to 95.2)`."""
    return f"{percent(value.value)} ({value.low * 100:.1f} to {value.high * 100:.1f})"


def points(change: Change) -> str:
    """How far apart, seen from the better one: `4.1 points (2.9 to 5.3)`."""
    low, high = (change.low, change.high) if change.value >= 0 else (-change.high, -change.low)
    return f"{abs(change.value) * 100:.1f} points ({low * 100:.1f} to {high * 100:.1f})"


def usd(amount: float) -> str:
    """Two digits that count and no exponent: `0.26`, `0.000013`, `2.50`, `41`."""
    if amount >= 10:
        return f"{amount:,.0f}"
    if amount >= 1:
        return f"{amount:.2f}"
    return f"{Decimal(f'{amount:.1e}'):f}" if amount else "0"


def number(value: float) -> str:
    """Of milliseconds, or of images in a second: `0.42`, `4.2`, `42`, `4,200`."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def times(ratio: float) -> str:
    """`1.4 times`, `23 times`, `1,300 times`."""
    if ratio < 10:
        return f"{ratio:.1f} times"
    return f"{float(f'{ratio:.2g}'):,.0f} times"


def minutes(value: float) -> str:
    """`12 min`, `4 h`, `2 h 48 min`."""
    whole = round(value)
    if whole < 1:
        return f"{value * 60:.0f} s"
    hours, rest = divmod(whole, 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)


def chance(p: float) -> str:
    """`p < 0.001`, `p = 0.03`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"

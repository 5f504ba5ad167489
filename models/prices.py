"""What an hour of a machine or a call of a service costs, from `prices.toml`."""

import tomllib
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_suffix(".toml")


@cache
def _table() -> dict[str, dict[str, float]]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def usd_per_hour(cores: int, device: str = "cpu-core") -> float:
    """Price of an hour: by the core for `cpu-core`, whole for a machine with a GPU. Raises `KeyError` for an unknown device."""
    price = _table()["hour"][device]
    return price * cores if device == "cpu-core" else price


def usd_per_call(service: str) -> float | None:
    """Price of one call of a remote service, by its kind (`custom_vision`); None where it is not billed by the call."""
    return _table()["call"].get(service.replace("_", "-"))


def usd(minutes: float, per_hour: float) -> float:
    """Cost of some minutes, in USD."""
    return minutes / 60 * per_hour

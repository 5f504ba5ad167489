"""What an hour of a machine or a call of a service costs, from `prices.toml`."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

TABLE = Path(__file__).with_suffix(".toml")
CORE = "cpu-core"


class Price(NamedTuple):
    """In USD, and who says so, for people."""

    usd: float
    source: str


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def usd_per_hour(cores: int, device: str = CORE) -> float:
    """Price of an hour: by the core for `cpu-core`, whole for a machine with a GPU. Raises `KeyError` for an unknown device."""
    price: float = _table()["hour"][device]
    return price * cores if device == CORE else price


def hour(cores: int, gpu: str | None = None) -> Price | None:
    """The same, of so many cores or of a machine with a GPU, by the name that its driver tells; None if it is not listed."""
    if gpu is None:
        what = "a core" if cores == 1 else f"{cores} cores"
        return Price(usd_per_hour(cores), f"{what}, {_source()}")
    device = next((one for one in _table()["hour"] if one.startswith("gpu-") and _is(one.removeprefix("gpu-"), gpu)), None)
    return None if device is None else Price(usd_per_hour(cores, device), f"{gpu}, {_source()}")


def usd_per_call(service: str) -> float | None:
    """Price of one call of a remote service, by its kind (`custom_vision`); None where it is not billed by the call."""
    price: float | None = _table()["call"].get(service.replace("_", "-"))
    return price


def call(service: str) -> Price | None:
    """The same, with its source."""
    price = usd_per_call(service)
    return None if price is None else Price(price, _source())


def usd(minutes: float, per_hour: float) -> float:
    """Cost of some minutes, in USD."""
    return minutes / 60 * per_hour


def _source() -> str:
    return f"models/prices.toml: {_table()['source']['prices']}, noted {_table()['source']['noted']}"


def _is(device: str, name: str) -> bool:
    """Whether `t4` is what a driver calls `Tesla T4`; a `T400` is another."""
    return re.search(rf"\b{re.escape(device)}\b", name, re.IGNORECASE) is not None

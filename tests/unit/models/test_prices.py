"""The table of prices, and what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import prices


def test_every_price_is_a_positive_number() -> None:
    table = prices._table()
    assert all(price > 0 for group in ("hour", "call") for price in table[group].values())


@given(st.integers(1, 256))
def test_cores_are_paid_one_by_one(cores: int) -> None:
    assert prices.usd_per_hour(cores) == pytest.approx(cores * prices.usd_per_hour(1))


@pytest.mark.parametrize("device", ["gpu-t4", "gpu-a100", "gpu-h100"])
def test_a_machine_with_a_gpu_is_paid_whole(device: str) -> None:
    assert prices.usd_per_hour(1, device) == prices.usd_per_hour(64, device)
    assert prices.usd_per_hour(1, device) > prices.usd_per_hour(1)


def test_an_unknown_device_has_no_price() -> None:
    with pytest.raises(KeyError):
        prices.usd_per_hour(1, "abacus")


@pytest.mark.parametrize(("minutes", "per_hour", "usd"), [(60, 0.5, 0.5), (0, 7, 0), (90, 0.096, 0.144), (30, 0, 0)])
def test_minutes_cost_their_share_of_an_hour(minutes: float, per_hour: float, usd: float) -> None:
    assert prices.usd(minutes, per_hour) == pytest.approx(usd)


def test_a_call_has_a_price_where_it_is_billed_by_the_call() -> None:
    assert prices.usd_per_call("custom_vision") == prices._table()["call"]["custom-vision"]
    assert prices.usd_per_call("azure_ml") is None


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("Tesla T4", "gpu-t4"),
        ("NVIDIA A100-SXM4-80GB", "gpu-a100"),
        ("NVIDIA H100 80GB HBM3", "gpu-h100"),
        ("NVIDIA T400 4GB", None),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_gpu_is_known_by_what_its_driver_calls_it(name: str, device: str | None) -> None:
    found = prices.hour(4, name)
    if device is None:
        assert found is None
    else:
        assert found is not None
        assert found.usd == prices.usd_per_hour(1, device)
        assert found.source.startswith(f"{name}, models/prices.toml: ")


def test_a_price_says_where_it_comes_from_and_of_when_it_is() -> None:
    found = prices.hour(2)
    assert found is not None
    assert found.usd == prices.usd_per_hour(2)
    assert found.source.startswith("2 cores, models/prices.toml: ")
    assert str(prices._table()["source"]["noted"]) in found.source
    asked = prices.call("custom_vision")
    assert asked is not None
    assert asked.source in found.source
    assert prices.call("azure_ml") is None

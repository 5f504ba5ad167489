"""The table of prices, and what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import prices


def test_every_price_is_a_positive_number() -> None:
    table = prices._table()
    assert {"hour", "call"} <= table.keys()
    assert all(price > 0 for group in table.values() for price in group.values())


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

"""The search for the highest rate, against servers that are a formula."""

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadtest.capacity import LOWEST, Capacity, Probe, cost, probe_of, search
from loadtest.results import SERVER, Results, Tally
from tests.unit.loadtest.test_verdict import filled, results

TARGET = 100.0


def queue(capacity: float, noise: float = 0.0, seed: int = 0) -> "tuple[list[float], object]":
    """A server whose latency grows as a queue's does: 5 ms / (1 - load), and without end from its capacity on."""
    rates: list[float] = []
    chance = random.Random(seed)

    def attempt(rate: float, confirms: bool) -> Probe:
        rates.append(rate)
        load = rate / capacity * (1 + chance.uniform(-noise, noise))
        p99 = 5 / (1 - load) if load < 1 else math.inf
        return Probe(rate, p99 / 2, p99, 0.0, p99 <= TARGET, confirms=confirms)

    return rates, attempt


def found(attempt: object, start: float = 20, ceiling: float = math.inf, precision: float = 0.05) -> Capacity:
    return search(attempt, start, ceiling, precision)  # type: ignore[arg-type]


@given(st.floats(2, 50_000), st.floats(1, 5_000))
def test_it_comes_as_near_as_asked_from_below(capacity: float, start: float) -> None:
    limit = 0.95 * capacity  # where the formula's p99 is 100 ms
    assume(limit > 2 * LOWEST)
    rates, attempt = queue(capacity)
    made = found(attempt, start)
    assert made.rate <= limit
    assert made.rate >= limit / 1.05 * 0.999
    assert made.bounded
    assert made.probes[-1].confirms
    assert len(rates) <= abs(math.log2(limit / start)) + 10, "doublings or halvings, then a bisection"


@given(st.floats(10, 5_000), st.floats(0, 0.1), st.integers(0, 1000))
def test_noise_leads_it_astray_no_farther_than_the_noise_is(capacity: float, noise: float, seed: int) -> None:
    made = found(queue(capacity, noise, seed)[1])
    if made.rate:
        assert made.rate <= 0.95 * capacity / (1 - noise) * 1.001
        assert made.probes[-1].confirms
        assert made.probes[-1].met, "what is told was kept once more"


def test_a_server_that_never_keeps_the_target_has_no_capacity() -> None:
    rates, attempt = queue(0.01)
    made = found(attempt)
    assert made.rate == 0
    assert min(rates) >= LOWEST


def test_the_ceiling_is_tried_and_told_as_a_lower_bound() -> None:
    rates, attempt = queue(10_000)
    made = found(attempt, 20, 100)
    assert max(rates) == made.rate == 100
    assert not made.bounded


def test_what_does_not_hold_for_longer_is_given_up() -> None:
    def attempt(rate: float, confirms: bool) -> Probe:
        limit = 80 if confirms else 100
        return Probe(rate, 1, 1, 0, rate <= limit, confirms=confirms)

    made = search(attempt, 20)
    assert 0.9 * 80 < made.rate <= 80
    assert made.bounded


def test_a_locust_that_can_do_no_more_bounds_the_search_and_proves_nothing() -> None:
    def attempt(rate: float, confirms: bool) -> Probe:
        return Probe(rate, 1, 1, 0, met=True, doubt="" if rate <= 300 else "locust is busy", confirms=confirms)

    made = search(attempt, 20)
    assert 280 < made.rate <= 300
    assert not made.bounded


@pytest.mark.parametrize(
    ("given_", "met"),
    [
        (results(ok=2000, ms=99), True),
        (results(ok=2000, ms=102), False),
        (results(ok=1999, failed=1, ms=9), True),
        (results(ok=1997, failed=3, ms=9), False),
        (results(ok=1997, shed=3, ms=9), False),
        (results(ok=1997, unsent=3, ms=9), False),
        (Results(kinds={"classify": Tally()}), False),
    ],
)
def test_a_rate_is_kept_if_it_is_fast_and_nothing_is_refused(given_: Results, met: bool) -> None:
    assert probe_of(10, given_, 100, []).met is met


def test_a_doubt_is_put_aside_where_the_server_itself_says_that_it_was_slow() -> None:
    slow = results(ms=300)
    assert probe_of(10, slow, 100, ["locust was late"]).doubt == ""
    slow.kinds["classify"].stages[SERVER] = filled([5] * 100)
    assert probe_of(10, slow, 100, ["locust was late"]).doubt == "locust was late"
    assert probe_of(10, results(ms=10), 100, ["locust was late"]).doubt == "locust was late"


def test_replicas_and_their_price() -> None:
    assert cost(1000, 250, 0.7, 0.1) == cost(1000, 250, 0.7, 0.1)
    needed = cost(1000, 250, 0.7, 0.1)
    assert needed.replicas == 6
    assert needed.usd_a_month == pytest.approx(6 * 0.1 * 730)
    assert cost(700, 100, 0.7, None) == type(needed)(10, None), "exactly ten, in spite of what floats make of it"
    with pytest.raises(ValueError, match="without capacity"):
        cost(1, 0, 0.7, None)


@given(st.floats(0.1, 1e5), st.floats(1, 1e4), st.floats(0.1, 1))
def test_replicas_suffice_and_one_less_would_not(wanted: float, capacity: float, headroom: float) -> None:
    replicas = cost(wanted, capacity, headroom, None).replicas
    assert replicas * capacity * headroom >= wanted * (1 - 1e-6)
    assert replicas == 1 or (replicas - 1) * capacity * headroom < wanted

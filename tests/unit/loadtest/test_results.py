"""What is counted: percentiles that are near, sums over processes without loss."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import Histogram
from loadtest.results import KEPT_REASONS, Results, Step, Tally

latencies = st.lists(st.floats(0.01, 1e5), min_size=1, max_size=200)


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


@given(latencies, st.floats(0, 1))
def test_a_percentile_is_within_a_hundredth_of_the_value_of_that_rank(values: list[float], share: float) -> None:
    exact = sorted(values)[max(0, math.ceil(len(values) * share - 1e-9) - 1)]
    assert histogram(values).percentile(share) == pytest.approx(exact, rel=0.01)


@given(latencies, latencies)
def test_merged_is_as_counted_in_one_place(one: list[float], other: list[float]) -> None:
    merged = histogram(one)
    merged.merge(histogram(other))
    assert merged == histogram(one + other)


def test_nothing_has_no_percentile_and_nothing_breaks_it() -> None:
    assert Histogram().percentile(0.5) is None
    assert histogram([0.0, -3.0]).percentile(0.99) == pytest.approx(0.001)


def tally() -> Tally:
    made = Tally(sent=10, ok=5, shed=2, unsent=4)
    made.took.add(5)
    made.time("queue", 1)
    made.fail("500 backend-failed")
    return made


def test_what_got_no_reply_has_failed() -> None:
    assert tally().unanswered == 2
    assert tally().failed == 3
    assert tally().due == 14
    assert tally().ratio(7) == 0.5
    assert Tally().ratio(0) == 0


def test_reasons_are_bounded() -> None:
    made = Tally()
    for number in range(1000):
        made.fail(f"reason {number}")
    assert len(made.failures) == KEPT_REASONS + 1
    assert sum(made.failures.values()) == 1000


def test_processes_are_added_up_and_survive_the_wire() -> None:
    one = Results(kinds={"classify": tally()}, steps={0: Step(ok=5, shed=2), 3: Step(failed=1)}, busy={"a": histogram([50])})
    other = Results(kinds={"classify": tally(), "bad": tally()}, steps={3: Step(failed=2)}, lag=histogram([1]))
    total = Results()
    for part in (one, other):
        total.merge(Results.model_validate(json.loads(json.dumps(part.model_dump(mode="json")))))
    assert (total.kinds["classify"].sent, total.kinds["bad"].sent, total.all.sent) == (20, 10, 30)
    assert total.kinds["classify"].failures == {"500 backend-failed": 2}
    assert total.kinds["classify"].stages["queue"].total == 2
    assert (total.steps[3].failed, total.steps[0].ok) == (3, 5)
    assert (total.lag.total, total.busy["a"].total) == (1, 1)

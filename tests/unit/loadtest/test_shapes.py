"""How load goes over time, and when requests fall due under it."""

from itertools import islice, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadtest.shapes import SHAPES, Curve, arrivals

curves = st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 1)), min_size=1, max_size=6).map(
    lambda steps: Curve(
        tuple((sum(width for width, _ in steps[:place]), level) for place, (_, level) in enumerate([*steps, steps[-1]]))
    )
)


@given(curves, st.floats(0.001, 0.999))
def test_when_is_the_inverse_of_area(curve: Curve, share: float) -> None:
    assume(curve.area() > 1e-6)
    area = curve.area() * share
    moment = curve.when(area)
    assert moment is not None
    assert curve.area(moment) == pytest.approx(area, abs=1e-6)


@given(curves, st.floats(0, 300), st.floats(0, 300))
def test_area_only_grows_and_never_faster_than_time(curve: Curve, one: float, other: float) -> None:
    early, late = sorted((one, other))
    assert -1e-9 <= curve.area(late) - curve.area(early) <= late - early + 1e-9


@given(curves)
def test_more_than_there_is_never_comes_together(curve: Curve) -> None:
    assert curve.when(curve.area() * (1 + 1e-6) + 1e-6) is None


@given(st.sampled_from(sorted(SHAPES)), st.floats(1, 1000), st.floats(0, 1))
def test_every_shape_stays_between_nothing_and_the_full_level_which_it_reaches(name: str, seconds: float, share: float) -> None:
    curve = SHAPES[name](seconds)
    assert curve.seconds == seconds
    assert 0 <= curve.level(share * seconds) <= 1
    assert max(level for _, level in curve.points) == 1


@pytest.mark.parametrize(
    ("name", "levels"),
    [("steady", [1, 1, 1, 1]), ("ramp", [0.125, 0.5, 0.875, 1]), ("spike", [0.2, 1, 1, 0.2]), ("soak", [1, 1, 1, 1])],
)
def test_each_shape_has_its_form(name: str, levels: list[float]) -> None:
    curve = SHAPES[name](100)
    assert [curve.level(at) for at in (10, 40, 60 if name == "spike" else 70, 90)] == pytest.approx(levels, abs=1e-9)


@given(curves, st.floats(0.5, 50), st.booleans())
def test_due_times_come_in_order_and_within_the_curve(curve: Curve, rate: float, poisson: bool) -> None:
    dues = list(arrivals(curve, rate, "seed", poisson=poisson))
    assert all(early <= late for early, late in pairwise(dues))
    assert all(0 <= due <= curve.seconds for due in dues)
    assert dues == list(arrivals(curve, rate, "seed", poisson=poisson)), "the same seed, the same times"


@given(curves, st.floats(0.5, 50))
def test_paced_ones_are_as_many_as_the_curve_is_worth(curve: Curve, rate: float) -> None:
    assert abs(len(list(arrivals(curve, rate, "seed"))) - rate * curve.area()) <= 1


def test_paced_ones_are_evenly_spaced_and_random_ones_are_not() -> None:
    curve = SHAPES["steady"](100)
    paced = [late - early for early, late in pairwise(arrivals(curve, 20, "a"))]
    assert paced == pytest.approx([0.05] * len(paced))
    random = [late - early for early, late in pairwise(arrivals(curve, 20, "a", poisson=True))]
    mean = sum(random) / len(random)
    deviation = (sum((gap - mean) ** 2 for gap in random) / len(random)) ** 0.5
    assert mean == pytest.approx(0.05, rel=0.1)
    assert deviation == pytest.approx(mean, rel=0.15), "of a Poisson process they are the same"


def test_several_sources_do_not_send_at_the_same_moments() -> None:
    firsts = {next(arrivals(SHAPES["steady"](10), 1, f"seed {number}")) for number in range(8)}
    assert len(firsts) == 8


def test_no_rate_is_no_request() -> None:
    assert list(islice(arrivals(SHAPES["steady"](10), 0, "seed"), 3)) == []

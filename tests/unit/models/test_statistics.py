"""Intervals against published values and their laws; reports against sums done by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from models import statistics
from models.tables import print_report


@st.composite
def answers(draw: st.DrawFn) -> tuple[int, int]:
    """Right answers, of how many."""
    images = draw(st.integers(1, 100_000))
    return draw(st.integers(0, images)), images


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3 (score, no continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(correct: int, images: int, low: float, high: float) -> None:
    found = statistics.accuracy(correct, images)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert (found.correct, found.images) == (correct, images)
    assert found.value == correct / images


@given(answers())
def test_the_interval_is_that_of_the_formula(case: tuple[int, int]) -> None:
    correct, n = case
    found = statistics.accuracy(correct, n)
    z, p = 1.959963984540054, correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert found.low == pytest.approx(max(0, centre - half), abs=1e-9)
    assert found.high == pytest.approx(min(1, centre + half), abs=1e-9)


@given(answers())
def test_the_interval_holds_the_value_and_stays_a_share(case: tuple[int, int]) -> None:
    found = statistics.accuracy(*case)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(answers(), st.integers(2, 50))
def test_more_images_narrow_the_interval(case: tuple[int, int], times: int) -> None:
    correct, images = case
    few, many = statistics.accuracy(correct, images), statistics.accuracy(correct * times, images * times)
    assert many.high - many.low < few.high - few.low


@given(answers())
def test_right_and_wrong_answers_have_mirrored_intervals(case: tuple[int, int]) -> None:
    correct, images = case
    right, wrong = statistics.accuracy(correct, images), statistics.accuracy(images - correct, images)
    assert (right.low, right.high) == pytest.approx((1 - wrong.high, 1 - wrong.low), abs=1e-12)


@pytest.mark.parametrize(("correct", "images"), [(0, 0), (2, 1), (-1, 5)])
def test_answers_that_can_t_be_are_refused(correct: int, images: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # scipy's own words
        statistics.accuracy(correct, images)


LABELS = ("sea", "forest", "street")
#         sea  forest street  <- named
MATRIX = [[3, 1, 0], [0, 2, 0], [2, 0, 0]]
TARGETS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
NAMED = np.array([0, 1, 0, 0, 1, 1, 0, 0])


def test_a_report_is_what_one_counts_by_hand() -> None:
    report = statistics.report(TARGETS, NAMED, LABELS)
    assert report.confusion == MATRIX
    assert (report.accuracy.correct, report.accuracy.images, report.accuracy.value) == (5, 8, 0.625)
    assert [row.label for row in report.classes] == list(LABELS)
    assert [row.images for row in report.classes] == [4, 2, 2]
    assert [row.precision for row in report.classes] == pytest.approx([3 / 5, 2 / 3, 0])
    assert [row.recall for row in report.classes] == pytest.approx([3 / 4, 1, 0])
    assert [row.f1 for row in report.classes] == pytest.approx([2 / 3, 4 / 5, 0])


def test_a_class_without_images_still_has_its_row() -> None:
    report = statistics.report(np.array([0, 0]), np.array([0, 0]), LABELS)
    assert report.confusion == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert [row.images for row in report.classes] == [2, 0, 0]


@given(st.integers(1, 60).flatmap(lambda count: arrays(np.int64, (2, count), elements=st.integers(0, 2))))
def test_the_confusion_sums_to_the_images_and_its_diagonal_to_the_right_answers(pairs: np.ndarray) -> None:
    targets, named = pairs
    report = statistics.report(targets, named, LABELS)
    matrix = np.array(report.confusion)
    assert matrix.sum() == len(targets)
    assert matrix.trace() == report.accuracy.correct
    assert matrix.sum(axis=1).tolist() == np.bincount(targets, minlength=3).tolist() == [row.images for row in report.classes]
    assert matrix.sum(axis=0).tolist() == np.bincount(named, minlength=3).tolist()


def test_a_printed_report_says_it_all() -> None:
    console = Console(width=120)
    with console.capture() as captured:
        print_report(console, "test", statistics.report(TARGETS, NAMED, LABELS))
    text = captured.get()
    assert "test: accuracy 62.5% (95 % interval 30.6% to 86.3%, 5 of 8 images)" in text
    assert "0.600" in text
    for label in LABELS:
        assert label in text


def paired(both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Right before, and right after."""
    before = np.repeat([True, True, False, False], [both, lost, gained, neither])
    after = np.repeat([True, False, True, False], [both, lost, gained, neither])
    return before, after


@pytest.mark.parametrize(
    ("both", "lost", "gained", "neither", "value", "low", "high"),
    [
        # M. W. Fagerland, S. Lydersen, P. Laake, Statistical Analysis of Contingency Tables (2017), chapter 8: Newcombe's
        # interval for the tables of Bentur et al. and of Cavo et al.
        (1, 7, 1, 12, -0.2857, -0.5069, -0.0256),
        (59, 16, 6, 80, -0.0621, -0.1186, -0.0046),
    ],
)
def test_the_interval_of_a_change_is_the_published_one(
    both: int, lost: int, gained: int, neither: int, value: float, low: float, high: float
) -> None:
    found = statistics.change(*paired(both, lost, gained, neither))
    assert (found.images, found.lost, found.gained) == (both + lost + gained + neither, lost, gained)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (value, low, high)


@given(st.tuples(*[st.integers(0, 2000)] * 4).filter(any))
def test_a_change_lies_within_its_interval_and_turns_with_its_sides(counts: tuple[int, int, int, int]) -> None:
    before, after = paired(*counts)
    found, back = statistics.change(before, after), statistics.change(after, before)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_the_same_answers_are_no_change_and_more_images_make_that_surer() -> None:
    few, many = (statistics.change(*paired(9 * count, 0, 0, count)) for count in (10, 140))
    assert few.value == many.value == 0
    assert few.high - few.low > many.high - many.low > 0
    assert many.high < 0.003, "1,400 images without a difference leave no room for half a point"


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (6, 0, 2 / 64),  # two-sided: 2 * (1/2)^6
        (8, 2, 112 / 1024),  # 2 * (C(10,0) + C(10,1) + C(10,2)) / 2^10
        (5, 5, 1.0),
        # M. W. Fagerland, S. Lydersen, P. Laake, BMC Medical Research Methodology 13 (2013), 91, table of Bentur et al.: 7 and 1
        (7, 1, 0.0703125),
    ],
)
def test_mcnemar_is_exact(only_first: int, only_second: int, p: float) -> None:
    assert statistics.mcnemar(only_first, only_second) == pytest.approx(p)
    assert statistics.mcnemar(only_second, only_first) == pytest.approx(p)


def test_holm_is_what_one_adjusts_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 -> times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04, and never less than one before
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []
    assert statistics.holm([0.7, 0.6]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusted_values_are_not_smaller_keep_their_order_and_stay_chances(values: list[float]) -> None:
    adjusted = statistics.holm(values)
    assert all(before <= after <= 1 for before, after in zip(values, adjusted, strict=True))
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(adjusted[one] <= adjusted[other] for one, other in itertools.pairwise(order))
    assert all(after <= min(1.0, before * len(values)) + 1e-12 for before, after in zip(values, adjusted, strict=True)), (
        "Bonferroni bounds it"
    )


def test_log_loss_of_even_scores_is_that_of_guessing() -> None:
    targets = np.array([0, 1, 2, 1])
    assert statistics.log_loss(targets, np.full((4, 3), 0.2), 1e-7) == pytest.approx(math.log(3)), "they are made to sum to 1"

"""What is said in words must follow from the figures."""

import pytest

from models.scoring import words
from models.scoring.measure import measure
from models.scoring.results import Scoring
from tests.support.scorings import Noted, answered, facts, failed, run_of

LABELS = ("no", "yes")


def rows_of(backend: str, right: set[int], images: int) -> list[Noted]:
    return [
        answered(f"yes/{n}.jpg", "yes", backend, {"no": 0.1, "yes": 0.9} if n in right else {"no": 0.9, "yes": 0.1})
        for n in range(images)
    ]


def run(mode: str = "throughput", **right: tuple[range, float, float]) -> Scoring:
    """Backends by name: images that each gets right, of 400; seconds; USD an hour."""
    rows = [row for name, (images, _, _) in right.items() for row in rows_of(name, set(images), 400)]
    backends = [facts(name, LABELS, seconds=seconds, usd_per_hour=hour) for name, (_, seconds, hour) in right.items()]
    return measure(rows, backends, run_of(400, mode=mode))


def test_who_is_certainly_ahead_is_said_to_be_with_how_far_and_how_sure() -> None:
    result = run(big=(range(390), 100, 1), small=(range(300), 1, 1))
    assert result.verdict.headline == (
        "big is the most accurate: right on 97.5 % (95.5 to 98.6) of 400 images, "
        "22.5 points (18.5 to 26.8) ahead of small, certainly (p < 0.001)."
    )
    assert result.verdict.trade_off == (
        "small costs 100 times less an image than big and is 22.5 points (18.5 to 26.8) worse, certainly (p < 0.001)."
    )
    big, small = result.verdict.advice
    assert big.choose == "If accuracy counts most."
    assert small.choose == "If each image must cost as little as can be or many images must go through."


def test_those_that_can_t_be_told_apart_are_not_ranked_by_accuracy() -> None:
    result = run(a=(range(390), 10, 1), b=(range(2, 390), 1, 1))
    assert result.verdict.headline == (
        "a and b can't be told apart by accuracy on 400 images (97.0 to 97.5 %); b is the cheapest and the fastest of them."
    )
    a, b = result.verdict.advice
    assert a.choose == "No figure here speaks for it: b is as accurate as far as can be told, and neither dearer nor slower."
    assert b.choose.startswith("If accuracy counts most, each image")
    assert "Not to be told from a (p = 0.50)" in b.because


def test_who_is_worse_in_everything_is_not_advised() -> None:
    result = run(good=(range(390), 1, 1), bad=(range(300), 10, 1))
    assert (
        result.verdict.advice[1].choose == "No figure here speaks for it: good is more accurate, and neither dearer nor slower."
    )
    assert result.verdict.trade_off is None


def test_a_compromise_is_called_one() -> None:
    result = run(best=(range(395), 100, 1), middle=(range(350), 10, 1), least=(range(250), 1, 1))
    assert [one.choose for one in result.verdict.advice][1] == "As a compromise: none is better in every way."


def test_short_runs_do_not_tell_who_is_faster_or_cheaper() -> None:
    long = run(a=(range(390), 1.5, 1), b=(range(390), 1, 1)).verdict
    assert "b is the cheapest and the fastest" in long.headline
    assert not [note for note in long.notes if "busy for" in note]
    brief = run(a=(range(390), 0.15, 1), b=(range(390), 0.1, 1)).verdict
    assert brief.headline == "b and a can't be told apart by accuracy on 400 images (97.5 %)."
    assert all("less than" not in one.because for one in brief.advice)
    assert [note for note in brief.notes if "b was busy for 0.10 s only: speeds and costs closer to its own than 2.0 t" in note]
    far = run(a=(range(390), 0.5, 1), b=(range(390), 0.1, 1)).verdict
    assert "b is the cheapest and the fastest" in far.headline, "five times is more than that"


def test_what_a_short_run_does_not_tell_is_not_said_to_be_so() -> None:
    result = run(a=(range(390), 0.19, 1), b=(range(330), 0.1, 1))
    assert "neither dearer nor slower" not in result.verdict.advice[1].choose


def test_one_short_run_says_nothing_of_the_others() -> None:
    result = run(a=(range(390), 100, 1), b=(range(390), 10, 1), c=(range(200), 0.01, 1))
    assert "b is the cheapest and the fastest of them" in result.verdict.headline
    result = run(a=(range(390), 2, 1), b=(range(390), 1, 1), c=(range(390), 0.05, 1000))
    (about,) = [one for one in result.verdict.advice if one.backend == "b"]
    assert "cost as little" in about.choose


def test_alone_it_is_judged_alone() -> None:
    result = run(only=(range(300), 1, 1))
    assert result.verdict.headline == "only is right on 75.0 % (70.5 to 79.0) of 400 images."
    assert result.verdict.advice[0].choose == "Nothing was measured beside it."


def test_unknown_prices_are_not_taken_for_nothing() -> None:
    rows = rows_of("a", set(range(390)), 400) + rows_of("b", set(range(390)), 400)
    result = measure(rows, [facts("a", LABELS, seconds=1, usd_per_hour=1), facts("b", LABELS)], run_of(400, mode="throughput"))
    assert all("No figure" not in one.choose and "cost" not in one.choose for one in result.verdict.advice)


def test_what_went_wrong_is_said() -> None:
    rows = [*rows_of("a", set(range(3)), 3), failed("yes/3.jpg", "yes", "a", "backend-timeout")]
    notes = measure(rows, [facts("a", LABELS)], run_of(10, state="cancelled")).verdict.notes
    assert notes[0] == "The run was cancelled: of 10 images there are rows of 4 by a. All figures are of those."
    assert notes[1] == "a gave no answer to 1 of 4 images (backend-timeout 1). Its figures are of the others."


def test_from_how_many_images_a_machine_pays_is_said() -> None:
    rows = rows_of("mine", set(range(9)), 9) + rows_of("theirs", set(range(9)), 9)
    backends = [
        facts("mine", LABELS, seconds=1, usd_per_hour=0.1),
        facts("theirs", LABELS, kind="custom_vision", usd_per_call=0.002),
    ]
    verdict = measure(rows, backends, run_of(9)).verdict
    assert any("costs 73 USD" in note and "for 36,500 images" in note for note in verdict.notes)
    assert "nobody is there to train or to run a model" in next(one.choose for one in verdict.advice if one.backend == "theirs")


def test_prices_are_stated_once_with_those_who_say_so() -> None:
    rows = [row for name in ("a", "b", "c") for row in rows_of(name, {0}, 2)]
    listed = {"seconds": 1, "usd_per_hour": 0.096, "price_source": "a list"}
    backends = [
        facts("a", LABELS, **listed),
        facts("b", LABELS, **listed),
        facts("c", LABELS, usd_per_call=0.002, price_source="me"),
    ]
    notes = measure(rows, backends, run_of(2)).verdict.notes
    assert [note for note in notes if note.startswith("Price of")] == [
        "Price of an hour of a and b: 0.096 USD (a list).",
        "Price of a call of c: 0.0020 USD (me).",
    ]


def test_wrong_labels_and_poor_calibration_are_pointed_at() -> None:
    notes = run(a=(range(300), 1, 1), b=(range(300), 1, 1)).verdict.notes
    assert any(note.startswith("No backend agrees with the label of 100 images.") for note in notes)
    assert any(note.startswith("a is surer than it should be by 15 points and b by 15 points") for note in notes)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (0.000013, "0.000013"), (0.0021, "0.0021"), (0.26, "0.26"), (2, "2.00"), (41.4, "41"), (4100, "4,100")],
)
def test_amounts_are_told_in_two_digits(amount: float, text: str) -> None:
    assert words.usd(amount) == text


@pytest.mark.parametrize(("value", "text"), [(0.3, "18 s"), (12, "12 min"), (240, "4 h"), (168, "2 h 48 min"), (59.7, "1 h")])
def test_durations_are_told_as_people_do(value: float, text: str) -> None:
    assert words.minutes(value) == text


@pytest.mark.parametrize(("ratio", "text"), [(1.44, "1.4 times"), (23.4, "23 times"), (8675, "8,700 times")])
def test_ratios_are_told_in_two_digits(ratio: float, text: str) -> None:
    assert words.times(ratio) == text


@pytest.mark.parametrize(("p", "text"), [(1e-9, "p < 0.001"), (0.004, "p = 0.004"), (0.049, "p = 0.049"), (0.31, "p = 0.31")])
def test_a_chance_is_told_with_the_digits_that_matter(p: float, text: str) -> None:
    assert words.chance(p) == text


def test_lists_are_told_with_an_and() -> None:
    assert [words.listed(list(names)) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]

"""From rows to results: cases done by hand, laws, and a recount that shares no code with what it checks."""

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.measure import measure
from models.scoring.results import Scoring
from tests.support.scorings import WAYS, Noted, answered, facts, failed, generated, intel_run, run_of

LABELS = ("cat", "dog", "emu")


def scores(cat: float, dog: float, emu: float) -> dict[str, float]:
    return {"cat": cat, "dog": dog, "emu": emu}


def two_backends() -> Scoring:
    """Four images; `a` is right on three, `b` on one and silent on one."""
    rows = [
        answered("cat/1.jpg", "cat", "a", scores(0.8, 0.1, 0.1), 4),
        answered("cat/2.jpg", "cat", "a", scores(0.5, 0.3, 0.2), 8),
        answered("dog/1.jpg", "dog", "a", scores(0.1, 0.9, 0.0), 12),
        answered("dog/2.jpg", "dog", "a", scores(0.7, 0.2, 0.1), 16),
        answered("cat/1.jpg", "cat", "b", scores(0.6, 0.2, 0.2), 1),
        answered("cat/2.jpg", "cat", "b", scores(0.1, 0.1, 0.8), 1),
        failed("dog/1.jpg", "dog", "b"),
        answered("dog/2.jpg", "dog", "b", scores(0.4, 0.3, 0.3), 1),
    ]
    backends = [facts("a", LABELS, seconds=2, usd_per_hour=0.9), facts("b", LABELS, seconds=1, usd_per_call=0.002)]
    return measure(rows, backends, run_of(4))


def test_quality_is_what_one_counts_by_hand() -> None:
    a, b = (one.quality for one in two_backends().backends)
    assert a
    assert b
    assert (a.accuracy.correct, a.accuracy.images) == (3, 4)
    assert (b.accuracy.correct, b.accuracy.images) == (1, 3), "the image without an answer is nobody's mistake"
    assert a.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 0))
    assert [(row.label, row.images) for row in a.classes] == [("cat", 2), ("dog", 2), ("emu", 0)]
    assert [row.precision for row in a.classes] == [pytest.approx(2 / 3), 1, None]
    assert [row.recall for row in a.classes] == [1, 0.5, None]
    assert [row.f1 for row in a.classes] == [pytest.approx(0.8), pytest.approx(2 / 3), None]
    assert a.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2), "emu has no image, and no part in the mean"
    assert a.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.5) + math.log(0.9) + math.log(0.2)) / 4, abs=1e-6)
    assert [(top.k, top.accuracy.correct) for top in a.top] == [(2, 4)]
    assert [(top.k, top.accuracy.correct) for top in b.top] == [(2, 3)], "of 0.1 and 0.1 the first label, cat, is the second best"


def test_a_label_that_loses_a_tie_is_not_among_the_best() -> None:
    result = measure([answered("emu/1.jpg", "emu", "a", scores(0.6, 0.2, 0.2))], [facts("a", LABELS)], run_of(1))
    quality = result.backends[0].quality
    assert quality
    assert [(top.k, top.accuracy.correct) for top in quality.top] == [(2, 0)]


def test_calibration_is_what_one_counts_by_hand() -> None:
    a = two_backends().backends[0].quality
    assert a
    # 0.5 | 0.7 | 0.8 | 0.9, each alone in its bin of 1/15; right, wrong, right, right
    assert [one.accuracy.correct for one in a.calibration.bins] == [1, 0, 1, 1]
    assert a.calibration.error == pytest.approx((0.5 + 0.7 + 0.2 + 0.1) / 4)
    assert a.calibration.overconfidence == pytest.approx((0.5 + 0.7 + 0.8 + 0.9) / 4 - 0.75)


def test_speed_and_cost_are_what_one_counts_by_hand() -> None:
    a, b = two_backends().backends
    assert a.latency
    assert (a.latency.total.p50, a.latency.total.max) == (10, 16)
    assert a.latency.total.p90 == pytest.approx(14.8), "0.9 * 3 = 2.7 steps from the first: 12 + 0.7 * 4"
    assert a.latency.queue
    assert a.latency.infer
    assert (a.latency.queue.p50, a.latency.infer.p50) == (2.5, 5)
    assert (a.latency.quantiles_ms[0], a.latency.quantiles_ms[50], a.latency.quantiles_ms[100]) == (4, 10, 16)
    assert (a.images_per_second, b.images_per_second) == (2, 3)
    assert a.cost
    assert b.cost
    assert a.cost.basis == "hour"
    assert (a.cost.usd, a.cost.usd_per_1000) == pytest.approx((0.0005, 0.125))
    assert b.cost.basis == "call"
    assert (b.cost.usd, b.cost.usd_per_1000) == pytest.approx((0.006, 2))


def test_pairs_are_what_one_counts_by_hand() -> None:
    (pair,) = two_backends().pairs
    assert (pair.compared, pair.agreed) == (3, 2), "dog/1 has only one answer; both take dog/2 for a cat"
    test = pair.test
    assert test
    assert (test.both, test.only_first, test.only_second, test.neither) == (1, 1, 0, 1)
    assert test.only_first_images == ("cat/2.jpg",)
    assert test.difference.value == pytest.approx(1 / 3)
    assert test.p == test.p_holm == 1, "one image can't tell"


def test_galleries_hold_the_images_that_belong_there() -> None:
    found = two_backends().galleries
    assert [one.image for one in found.disagreements.exhibits] == ["cat/2.jpg"]
    assert found.doubted
    assert [one.image for one in found.doubted.exhibits] == ["dog/2.jpg"]
    assert [(claim.backend, claim.predicted) for claim in found.doubted.exhibits[0].claims] == [("a", "cat"), ("b", "cat")]
    assert {name: [one.image for one in gallery.exhibits] for name, gallery in found.mistakes.items()} == {
        "a": ["dog/2.jpg"], "b": ["cat/2.jpg", "dog/2.jpg"],
    }  # fmt: skip


def test_a_gallery_keeps_the_worst_and_the_number_of_all() -> None:
    rows = [answered(f"cat/{number}.jpg", "cat", "a", scores(0, 0.5 + number / 100, 0)) for number in range(10)]
    gallery = measure(rows, [facts("a", LABELS)], run_of(10), shown=2).galleries.mistakes["a"]
    assert gallery.total == 10
    assert [one.image for one in gallery.exhibits] == ["cat/9.jpg", "cat/8.jpg"]


def test_without_labels_nothing_is_said_of_accuracy_and_agreement_remains() -> None:
    rows = [row._replace(label=None) for row in generated(60)]
    result = measure(rows, [way.facts for way in WAYS], run_of(60))
    assert result.labelled == 0
    assert all(one.quality is None and one.latency and one.cost for one in result.backends)
    assert all(pair.test is None and pair.agreement is not None for pair in result.pairs)
    assert result.galleries.doubted is None
    assert result.galleries.mistakes == {}
    assert result.galleries.disagreements.total > 0
    assert "nobody knows who is right" in result.verdict.headline


def test_a_backend_without_an_answer_has_errors_and_no_figures() -> None:
    rows = [failed("cat/1.jpg", "cat", "a", "backend-failed"), failed("cat/2.jpg", "cat", "a", "invalid-image")]
    (one,) = measure(rows, [facts("a", LABELS, seconds=1, usd_per_hour=1)], run_of(2)).backends
    assert one.errors == {"backend-failed": 1, "invalid-image": 1}
    assert (one.answered, one.quality, one.latency, one.cost, one.images_per_second) == (0, None, None, None, None)


def test_a_run_without_rows_is_a_result_too() -> None:
    result = measure([], [facts("a", LABELS)], run_of(3, state="failed", reason="the disk is full"))
    assert "nothing to compare" in result.verdict.headline
    assert "the disk is full" in result.verdict.notes[0]


def test_backends_with_words_of_their_own_are_compared_in_those_of_the_set() -> None:
    strange = facts("b", ("Hund", "Katze"), words={"Hund": "dog", "Katze": "cat"})
    rows = [
        answered("cat/1.jpg", "cat", "a", scores(0.8, 0.1, 0.1)),
        answered("cat/1.jpg", "Katze", "b", {"Hund": 0.3, "Katze": 0.7}),
    ]
    result = measure(rows, [facts("a", LABELS), strange], run_of(1))
    assert result.labels == LABELS
    assert result.pairs[0].agreed == 1
    quality = result.backends[1].quality
    assert quality
    assert quality.log_loss == pytest.approx(-math.log(0.7), abs=1e-5)


def test_a_label_that_no_backend_knows_counts_as_wrong() -> None:
    result = measure([answered("yak/1.jpg", "yak", "a", scores(0.8, 0.1, 0.1))], [facts("a", LABELS)], run_of(1))
    quality = result.backends[0].quality
    assert result.labels == (*LABELS, "yak")
    assert quality
    assert quality.accuracy.value == 0
    assert quality.log_loss == pytest.approx(-math.log(float(np.finfo(np.float32).eps)), abs=1e-5)


def test_an_image_that_was_counted_twice_is_refused() -> None:
    row = answered("cat/1.jpg", "cat", "a", scores(1, 0, 0))
    with pytest.raises(ValueError, match=r"cat/1\.jpg stands twice for a"):
        measure([row, row], [facts("a", LABELS)], run_of(1))
    with pytest.raises(ValueError, match="a row of a, which is none of b"):
        measure([row], [facts("b", LABELS)], run_of(1))


def test_an_independent_recount_comes_to_the_same() -> None:
    rows = list(generated(300))
    result = measure(rows, [way.facts for way in WAYS], intel_run(300))
    for one in result.backends:
        mine = [row for row in rows if row.backend == one.name]
        told = [row for row in mine if row.error is None]
        assert (one.images, one.answered, sum(one.errors.values())) == (len(mine), len(told), len(mine) - len(told))
        assert one.quality
        assert one.quality.accuracy.correct == sum(row.label == row.predicted for row in told)
        counts = Counter((row.label, row.predicted) for row in told)
        assert [[counts[true, named] for named in result.labels] for true in result.labels] == [
            list(r) for r in one.quality.confusion
        ]
    for pair in result.pairs:
        right = {(row.image, row.backend): row.predicted == row.label for row in rows if row.error is None}
        both = {image for image, name in right if name == pair.first} & {image for image, name in right if name == pair.second}
        only = [image for image in both if right[image, pair.first] and not right[image, pair.second]]
        assert pair.test
        assert (pair.compared, pair.test.only_first) == (len(both), len(only))


@st.composite
def runs(draw: st.DrawFn) -> list[Noted]:
    rows = []
    for number in range(draw(st.integers(1, 12))):
        label = draw(st.sampled_from([*LABELS, None]))
        for backend in ("a", "b"):
            if draw(st.booleans()):
                parts = draw(st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any))
                rows.append(
                    answered(
                        f"{number}.jpg",
                        label,
                        backend,
                        {name: part / sum(parts) for name, part in zip(LABELS, parts, strict=True)},
                    )
                )
            elif draw(st.booleans()):
                rows.append(failed(f"{number}.jpg", label, backend))
    return rows


@settings(deadline=None, max_examples=40)
@given(runs(), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_nothing_and_sums_match(rows: list[Noted], random: Random) -> None:
    backends = [facts("a", LABELS, seconds=1, usd_per_hour=1), facts("b", LABELS, seconds=1, usd_per_call=1)]
    result = measure(rows, backends, run_of(12))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert measure(shuffled, backends, run_of(12)) == result
    assert Scoring.model_validate_json(result.model_dump_json()) == result, "it survives its journey as JSON"
    for one in result.backends:
        assert one.images == one.answered + sum(one.errors.values())
        if one.quality:
            found = one.quality
            assert sum(map(sum, found.confusion)) == found.accuracy.images == sum(row.images for row in found.classes)
            assert sum(row[i] for i, row in enumerate(found.confusion)) == found.accuracy.correct
            assert found.accuracy.correct <= found.top[0].accuracy.correct
            assert 0 <= found.calibration.error <= 1
            assert abs(found.calibration.overconfidence) <= found.calibration.error + 1e-9
            assert sum(one.accuracy.images for one in found.calibration.bins) == found.accuracy.images

"""What a duel comes to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.customvision.duel import Round, Said
from training.customvision.findings import findings, usd_a_month, verdict

LABELS = ("cat", "dog", "other")


def said(label: str, ms: float = 1.0) -> Said:
    return Said(label, 0.9, ms)


def rounds(cloud_right: int, local_right: int, images: int, *, labelled: bool = True) -> list[Round]:
    """Of cats: the first ones are known to each."""
    return [
        Round(
            f"cat/{number}.jpg",
            "cat" if labelled else None,
            said("cat" if number < cloud_right else "dog", 100),
            said("cat" if number < local_right else "dog", 10),
        )
        for number in range(images)
    ]


@settings(deadline=None)  # the first case loads scipy
@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, None]), st.sampled_from([*LABELS, None])), max_size=40)
)
def test_every_image_is_counted_once(images: list[tuple[str, str | None, str | None]]) -> None:
    found = findings(
        [
            Round(f"{number}.jpg", truth, said(a) if a else "remote-failed", said(b) if b else "broken-image")
            for number, (truth, a, b) in enumerate(images)
        ]
    )
    answered = [(truth, a, b) for truth, a, b in images if a and b]
    if found is None:
        assert not answered
        return
    assert found.images == len(answered)
    assert sum(tag.cloud for tag in found.tags) == sum(tag.local for tag in found.tags) == found.images
    assert sum(tag.both for tag in found.tags) == found.agreement.correct
    assert sum(swap.images for swap in found.swaps) == len(found.differing) == found.images - found.agreement.correct
    assert found.failed.get("cloud: remote-failed", 0) == sum(a is None for _, a, _ in images)
    assert found.failed.get("local: broken-image", 0) == sum(b is None for _, _, b in images)
    assert found.cloud_accuracy
    assert found.local_accuracy
    assert found.cloud_accuracy.correct == sum(truth == a for truth, a, _ in answered)
    assert found.local_accuracy.correct == sum(truth == b for truth, _, b in answered)
    assert sum(tag.cloud_right or 0 for tag in found.tags) == found.cloud_accuracy.correct


def test_without_labels_there_is_no_accuracy_but_a_hint_what_to_label() -> None:
    found = findings(rounds(90, 80, 100, labelled=False))
    assert found
    assert (found.cloud_accuracy, found.local_accuracy, found.change) == (None, None, None)
    assert "agree on 90.0%" in verdict(found, 0.01)
    assert "the 10 images" in verdict(found, 0.01)


@pytest.mark.parametrize(
    ("cloud", "local", "images", "says"),
    [
        (9400, 9420, 10_000, "Move"),
        (9400, 9380, 10_000, "Move"),
        (9400, 9200, 10_000, "Don't move yet: accuracy changes by -2.0 points"),
        (940, 933, 1_000, "About"),
        (94, 92, 100, "is not certain"),
    ],
)
def test_a_verdict_is_as_certain_as_the_images_allow(cloud: int, local: int, images: int, says: str) -> None:
    found = findings(rounds(cloud, local, images))
    assert found
    assert says in verdict(found, 0.01)


def test_more_images_are_asked_for_the_closer_it_is() -> None:
    asked = []
    for local in (995, 992):
        found = findings(rounds(1000, local, 1000))
        assert found
        asked.append(int(verdict(found, 0.009).partition("About ")[2].partition(" ")[0].replace(",", "")))
    assert asked[0] < asked[1]


def test_a_month_costs_by_the_call_or_by_the_hour() -> None:
    assert usd_a_month(100_000, usd_per_1000=2) == 200
    assert usd_a_month(100_000, usd_per_hour=0.1) == pytest.approx(73)
    assert usd_a_month(100_000) is None


def test_latency_is_told_by_its_percentiles() -> None:
    found = findings([Round(f"{n}.jpg", None, said("cat", n), said("cat", 2 * n)) for n in range(101)])
    assert found
    assert (found.cloud_ms, found.local_ms) == ({"p50": 50, "p95": 95}, {"p50": 100, "p95": 190})

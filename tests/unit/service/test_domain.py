"""The values that travel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.domain import Scores, rank

SCORES = arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(0, 1, width=32))
COARSE = arrays.arrays(np.float32, st.integers(1, 30), elements=st.sampled_from([0.0, 0.25, 0.5]))
"""With many ties."""


@given(scores=SCORES | COARSE, top=st.integers(1, 40))
def test_a_ranking_is_the_labels_with_their_own_scores_best_first_and_ties_in_the_order_of_the_labels(
    scores: Scores, top: int
) -> None:
    labels = tuple(f"label {number}" for number in range(len(scores)))
    ranked = rank(scores, labels, top)
    expected = sorted(zip(labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])  # sorted is stable
    assert [(one.label, one.probability) for one in ranked] == expected[:top]


@given(scores=SCORES)
def test_a_longer_ranking_begins_with_the_shorter_one(scores: Scores) -> None:
    labels = tuple(map(str, range(len(scores))))
    assert rank(scores, labels, 5)[:3] == rank(scores, labels, 3)

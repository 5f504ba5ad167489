"""Backends two by two, on the very same images."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from models import statistics
from models.scoring.results import Pair, PairTest
from models.scoring.rows import Answer


def pairs(answers: Mapping[str, Mapping[str, Answer]], shown: int) -> tuple[Pair, ...]:
    """Every two backends: how often they agree, and who is right more often. At most `shown` images of each list are named."""
    found = [_pair(first, second, answers, shown) for first, second in combinations(answers, 2)]
    tests = [pair.test for pair in found if pair.test]
    adjusted = iter(statistics.holm([test.p for test in tests]))
    return tuple(
        pair.model_copy(update={"test": pair.test.model_copy(update={"p_holm": next(adjusted)})}) if pair.test else pair
        for pair in found
    )


def _pair(first: str, second: str, answers: Mapping[str, Mapping[str, Answer]], shown: int) -> Pair:
    both = [
        (one, other)
        for image, one in answers[first].items()
        if one.predicted is not None and (other := answers[second].get(image)) is not None and other.predicted is not None
    ]
    agreed = sum(one.predicted == other.predicted for one, other in both)
    judged = [(one, other) for one, other in both if one.judged and other.judged]
    return Pair(first=first, second=second, compared=len(both), agreed=agreed, test=_test(judged, shown) if judged else None)


def _test(judged: list[tuple[Answer, Answer]], shown: int) -> PairTest:
    one = np.array([answer.right for answer, _ in judged])
    other = np.array([answer.right for _, answer in judged])
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    p = statistics.mcnemar(only_first, only_second)
    images = np.array([answer.image for answer, _ in judged], dtype=object)
    return PairTest(
        both=int((one & other).sum()),
        only_first=only_first,
        only_second=only_second,
        neither=int((~one & ~other).sum()),
        difference=statistics.change(other, one),
        p=p,
        p_holm=p,
        only_first_images=tuple(images[one & ~other][:shown]),
        only_second_images=tuple(images[other & ~one][:shown]),
    )

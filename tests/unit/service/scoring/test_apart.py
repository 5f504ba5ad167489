"""Judging in a process of its own."""

import subprocess

import pytest

from models.scoring.measure import measure
from service.scoring import apart
from service.scoring.rows import Row
from tests.support.scorings import answered, facts, failed, run_of

ROWS = [
    Row(*row)
    for row in (
        answered("sea/é\n1.jpg", "sea", "a", {"sea": 0.1, "street": 1 / 3}),
        answered("sea/2.jpg", None, "a", {"sea": 1e-30, "street": 0.9}),
        failed("sea/1.jpg", "sea", "b"),
    )
]
BACKENDS = [facts("a", ["sea", "street"], seconds=2.5), facts("b", ["sea"], words={"sea": "la mer"})]


def test_a_process_of_its_own_comes_to_the_same_results() -> None:
    assert apart.measured(ROWS, BACKENDS, run_of(2)) == measure(ROWS, BACKENDS, run_of(2))


def test_its_failure_is_told_with_what_it_said_last() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        apart.measured([*ROWS, ROWS[0]], BACKENDS, run_of(2))
    assert any("ValueError" in note for note in failure.value.__notes__)

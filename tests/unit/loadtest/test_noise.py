"""How much of the machine went to others."""

import pytest

from loadtest.bench.measure import Disturbances
from loadtest.bench.noise import Clocks, Noise, noise_between, parse

TEXT = """cpu  3000 10 800 40000 200 5 45 300 7 0
cpu0 1500 5 400 20000 100 3 20 150 7 0
cpu1 1500 5 400 20000 100 2 25 150 0 0
intr 478537 0 0
ctxt 902856
"""


def test_the_kernels_text_is_read() -> None:
    assert parse(TEXT, 12.5, 100) == Clocks(wall=12.5, processors=2, idle=402, interrupts=0.5, stolen=3)


def test_an_old_kernel_tells_of_no_stolen_time() -> None:
    assert parse("cpu  1 2 3 400 0 0 0\ncpu0 1 2 3 400 0 0 0\n", 0, 100) == Clocks(0, 1, 4, 0, 0)


def clocks(wall: float, idle: float = 0, interrupts: float = 0, stolen: float = 0) -> Clocks:
    return Clocks(wall, 2, idle, interrupts, stolen)


def test_what_is_neither_idle_nor_ours_is_others() -> None:
    noise = noise_between(clocks(10, 100, 5, 1), clocks(20, 106, 5.5, 2), own_seconds=8)
    assert noise.others == pytest.approx((20 - 6 - 0.5 - 1 - 8) / 20)
    assert noise.stolen == pytest.approx(1 / 20)


def test_a_busy_machine_of_our_own_is_no_noise() -> None:
    assert noise_between(clocks(0), clocks(3), own_seconds=6) == Noise(0, 0)


def test_clocks_that_count_a_little_too_much_make_no_negative_noise() -> None:
    assert noise_between(clocks(0), clocks(3), own_seconds=6.02) == Noise(0, 0)


def test_no_time_at_all() -> None:
    assert noise_between(clocks(1), clocks(1), 0) == Noise(0, 0)


@pytest.mark.parametrize(
    ("others", "stolen", "spoils"), [(0.04, 0.0, False), (0.03, 0.03, True), (0.0, 0.06, True), (0.06, 0.0, True)]
)
def test_others_and_stolen_time_together_spoil_a_round(others: float, stolen: float, *, spoils: bool) -> None:
    assert Noise(others, stolen).spoils is spoils


class Round:
    def __init__(self, others: float) -> None:
        self.noise = Noise(others, 0)


def run(disturbances: Disturbances, *others: float) -> float:
    rounds = iter([Round(share) for share in others])
    return disturbances.quietly(lambda: next(rounds), attempts=3).noise.others


def test_a_quiet_round_is_measured_once() -> None:
    disturbances = Disturbances()
    assert run(disturbances, 0.01) == 0.01
    assert disturbances == Disturbances(measured=1, spoiled=0, kept=0)


def test_a_spoiled_round_is_measured_again() -> None:
    disturbances = Disturbances()
    assert run(disturbances, 0.5, 0.02) == 0.02
    assert disturbances == Disturbances(measured=2, spoiled=1, kept=0)


def test_when_it_is_never_quiet_the_best_attempt_stays() -> None:
    disturbances = Disturbances()
    assert run(disturbances, 0.5, 0.2, 0.3) == 0.2
    assert disturbances == Disturbances(measured=3, spoiled=3, kept=1)

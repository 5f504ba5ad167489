"""When a service that fails is left alone, and when it is tried again."""

import pytest

from service.backends.breaker import FIRST_REST_S, IN_A_ROW, MAX_REST_S, WINDOW, Breaker
from service.errors import RemoteDown


class Clock:
    """Seconds that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("there", clock)


def state(breaker: Breaker) -> str:
    """Asked anew each time, which a type checker would not believe of a property."""
    return breaker.state


def attempts(breaker: Breaker, *outcomes: bool | None) -> None:
    for ok in outcomes:
        breaker.end(breaker.begin(), ok)


def test_it_opens_after_failures_in_a_row_and_says_when_to_come_back(breaker: Breaker) -> None:
    attempts(breaker, *[False] * (IN_A_ROW - 1))
    assert state(breaker) == "closed"
    attempts(breaker, False)
    assert state(breaker) == "open"
    with pytest.raises(RemoteDown, match="there failed time and again") as refused:
        breaker.check()
    assert refused.value.retry_after == FIRST_REST_S


def test_it_opens_when_more_than_half_fails_and_not_for_a_failure_now_and_then(breaker: Breaker) -> None:
    attempts(breaker, *[False, True] * WINDOW)
    attempts(breaker, *[False, *[True] * 9] * 10)
    assert state(breaker) == "closed"
    with pytest.raises(RemoteDown):
        attempts(breaker, *[False, False, True] * WINDOW)


def test_what_nobody_knows_the_end_of_counts_for_nothing(breaker: Breaker) -> None:
    attempts(breaker, *[None] * 50)
    assert state(breaker) == "closed"


def test_one_attempt_decides_after_the_rest(breaker: Breaker, clock: Clock) -> None:
    attempts(breaker, *[False] * IN_A_ROW)
    clock.now += FIRST_REST_S
    assert state(breaker) == "half-open"
    probe = breaker.begin()
    assert probe
    with pytest.raises(RemoteDown):
        breaker.begin()
    breaker.end(probe, ok=True)
    assert state(breaker) == "closed"
    attempts(breaker, *[False] * (IN_A_ROW - 1))
    assert state(breaker) == "closed", "what was before is forgotten"


def test_a_probe_that_fails_doubles_the_rest_up_to_a_bound(breaker: Breaker, clock: Clock) -> None:
    attempts(breaker, *[False] * IN_A_ROW)
    rests = []
    rest = FIRST_REST_S
    for _ in range(6):
        clock.now += rest
        attempts(breaker, False)
        with pytest.raises(RemoteDown) as refused:
            breaker.check()
        rest = float(refused.value.retry_after)
        rests.append(rest)
    assert rests == [10, 20, 40, MAX_REST_S, MAX_REST_S, MAX_REST_S]


def test_a_probe_that_was_given_up_lets_another_one_through(breaker: Breaker, clock: Clock) -> None:
    attempts(breaker, *[False] * IN_A_ROW)
    clock.now += FIRST_REST_S
    attempts(breaker, None)
    assert breaker.begin()


def test_what_began_before_it_opened_says_nothing_new(breaker: Breaker) -> None:
    early = breaker.begin()
    attempts(breaker, *[False] * IN_A_ROW)
    breaker.end(early, ok=True)
    assert state(breaker) == "open"

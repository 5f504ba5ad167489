"""Permits: none is lost, none is given twice, and who is refused is told when to come back."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admission import Admission, ByteBudget
from service.errors import QueueFull, UploadsFull


@given(places=st.integers(1, 5), moves=st.lists(st.integers(0, 9), max_size=60), fails=st.booleans())
def test_no_permit_is_lost_or_given_twice_in_whatever_order_they_come_back(places: int, moves: list[int], fails: bool) -> None:
    admission = Admission(places, lambda: 0.0)
    held: list[ExitStack] = []
    for move in moves:
        if move >= 6 and held:
            block = held.pop(move % len(held))
            if fails:
                assert not block.__exit__(KeyError, KeyError(), None), "an error in the block is not swallowed"
            else:
                block.close()
        elif len(held) < places:
            held.append(ExitStack())
            held[-1].enter_context(admission.permit())
        else:
            with pytest.raises(QueueFull), admission.permit():
                pass
        assert admission.held == len(held)
    for block in held:
        block.close()
    assert admission.held == 0


@given(held=st.integers(1, 50), pace=st.floats(0, 1e6))
def test_retry_after_is_the_time_that_the_queue_takes_between_one_second_and_sixty(held: int, pace: float) -> None:
    admission = Admission(held, lambda: pace)
    with ExitStack() as stack:
        for _ in range(held):
            stack.enter_context(admission.permit())
        with pytest.raises(QueueFull) as refused:
            stack.enter_context(admission.permit())
    seconds = refused.value.retry_after
    assert isinstance(seconds, int)
    assert 1 <= seconds <= 60
    assert seconds >= min(60, held * pace)
    assert seconds < max(1, held * pace) + 1
    assert f"{seconds} s" in str(refused.value)


@given(limit=st.integers(1, 100), moves=st.lists(st.integers(0, 60) | st.none(), max_size=60))
def test_the_byte_budget_is_never_overdrawn_and_all_comes_back(limit: int, moves: list[int | None]) -> None:
    budget = ByteBudget(limit)
    held: list[tuple[int, ExitStack]] = []
    for size in moves:
        if size is None:
            if held:
                held.pop(0)[1].close()
        elif sum(taken for taken, _ in held) + size <= limit:
            held.append((size, ExitStack()))
            held[-1][1].enter_context(budget.reserve(size))
        else:
            with pytest.raises(UploadsFull) as refused, budget.reserve(size):
                pass
            assert refused.value.retry_after == 1
        assert budget.held == sum(taken for taken, _ in held) <= limit
    for _, block in held:
        block.close()
    assert budget.held == 0


@pytest.mark.parametrize("make", [lambda: Admission(1, lambda: 0.0).permit, lambda: ByteBudget(1).reserve])
def test_a_block_that_raises_gives_its_permit_back(make: Callable[[], Callable[..., AbstractContextManager[None]]]) -> None:
    take = make()
    size = (1,) if take.__name__ == "reserve" else ()
    for _ in range(3):
        with pytest.raises(KeyError), take(*size):
            raise KeyError
    with take(*size):
        pass

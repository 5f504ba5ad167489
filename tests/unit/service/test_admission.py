"""Permits: none is lost, none is given twice, and who is refused is told when to come back."""

import asyncio
from contextlib import ExitStack, suppress

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
        for caller in range(held):
            stack.enter_context(admission.permit(str(caller)))
        with pytest.raises(QueueFull) as refused:
            stack.enter_context(admission.permit())
    seconds = refused.value.retry_after
    assert isinstance(seconds, int)
    assert 1 <= seconds <= 60
    assert seconds >= min(60, held * pace)
    assert seconds < max(1, held * pace) + 1
    assert f"{seconds} s" in str(refused.value)


def enter_all(stack: ExitStack, admission: Admission, caller: str) -> int:
    """Let a caller take whatever places it gets. Returns how many."""
    for taken in range(admission.max_queue + 1):
        try:
            stack.enter_context(admission.permit(caller))
        except QueueFull:
            return taken
    raise AssertionError("the bound does not hold")


def admits(admission: Admission, caller: str) -> bool:
    try:
        admission.check(caller)
    except QueueFull:
        return False
    return True


@given(max_queue=st.integers(1, 300))
def test_one_caller_alone_gets_eight_places_of_nine_and_never_the_last(max_queue: int) -> None:
    with ExitStack() as stack:
        admission = Admission(max_queue, lambda: 0.0)
        taken = enter_all(stack, admission, "greedy")
        assert taken >= max_queue * 8 // 9
        assert taken < max_queue or max_queue < 9


@given(max_queue=st.integers(9, 300), data=st.data())
def test_a_newcomer_gets_in_beside_any_greedy_caller_and_whoever_was_there_before(max_queue: int, data: st.DataObject) -> None:
    with ExitStack() as stack:
        admission = Admission(max_queue, lambda: 0.0)
        for modest in range(data.draw(st.integers(0, max_queue - 9))):
            stack.enter_context(admission.permit(f"modest {modest}"))
        enter_all(stack, admission, "greedy")
        admission.check("newcomer")
        with admission.permit("newcomer"):
            pass


@given(asking=st.lists(st.sampled_from("abcd"), max_size=80), max_queue=st.integers(1, 60))
def test_who_holds_fewer_places_is_never_refused_where_who_holds_more_is_let_in(asking: list[str], max_queue: int) -> None:
    held = dict.fromkeys("abcd", 0)
    with ExitStack() as stack:
        admission = Admission(max_queue, lambda: 0.0)
        for caller in asking:
            welcome = [name for name in held if admits(admission, name)]
            refused = [name for name in held if name not in welcome]
            assert max((held[name] for name in welcome), default=0) <= min((held[name] for name in refused), default=max_queue)
            if caller in welcome:
                stack.enter_context(admission.permit(caller))
                held[caller] += 1


@given(max_queue=st.integers(1, 60), before=st.integers(0, 60), places=st.integers(1, 20))
def test_several_places_are_given_where_one_by_one_they_would_be_and_come_back_together(
    max_queue: int, before: int, places: int
) -> None:
    together, single = Admission(max_queue, lambda: 0.0), Admission(max_queue, lambda: 0.0)
    with ExitStack() as stack:
        for admission in (together, single):
            for _ in range(before):
                with suppress(QueueFull):
                    stack.enter_context(admission.permit("it"))
        inside = single.held
        got = 0
        for _ in range(places):
            with suppress(QueueFull):
                stack.enter_context(single.permit("it"))
                got += 1
        try:
            with together.permit("it", places=places):
                assert together.held == inside + places
            assert got == places
        except QueueFull:
            assert got < places
        assert together.held == inside


def test_who_has_too_many_places_is_told_so_and_gets_another_when_one_is_done() -> None:
    admission = Admission(18, lambda: 0.0)
    with ExitStack() as stack:
        taken = enter_all(stack, admission, "greedy")
        with pytest.raises(QueueFull, match=f"{taken} places .* are yours"), admission.permit("greedy"):
            pass
        with ExitStack() as others:
            enter_all(others, admission, "other")
            enter_all(others, admission, "third")
            with pytest.raises(QueueFull, match="All 18 places"):
                admission.check("newcomer")
    assert admission.held == 0
    with ExitStack() as stack:
        assert enter_all(stack, admission, "greedy") == taken, "places that came back count for nobody"


@pytest.mark.parametrize(
    ("caller", "ahead"),
    [("new", 3), ("modest", 6), ("greedy", 10)],
)
async def test_a_request_that_would_wait_past_its_deadline_is_refused_by_whose_turn_comes_before(caller: str, ahead: int) -> None:
    """Of ten requests inside, eight are greedy's: round after round, each caller has one turn."""
    admission = Admission(100, lambda: 1.0)
    now = asyncio.get_running_loop().time()
    with ExitStack() as stack:
        for name in ["greedy"] * 8 + ["modest", "third"]:
            stack.enter_context(admission.permit(name))
        with admission.permit(caller, deadline=now + ahead + 100):
            pass
        admission.check(caller)
        with pytest.raises(QueueFull, match=f"{ahead}.0 s of work before this image") as refused:
            admission.check(caller, deadline=now + ahead - 0.001)
    assert refused.value.retry_after == 10


@pytest.mark.parametrize("inside", [0, 1])
async def test_a_slow_backend_is_not_refused_for_a_deadline_while_next_to_nothing_is_inside(inside: int) -> None:
    """A figure that a slow start spoilt would otherwise never be measured anew."""
    admission = Admission(100, lambda: 1e6)
    with ExitStack() as stack:
        for number in range(inside):
            stack.enter_context(admission.permit(str(number)))
        admission.check("new", deadline=asyncio.get_running_loop().time())


async def test_whoever_waits_until_it_is_empty_waits_for_the_last() -> None:
    admission = Admission(10, lambda: 0.0)
    await admission.emptied()
    first, second = ExitStack(), ExitStack()
    first.enter_context(admission.permit("a"))
    second.enter_context(admission.permit("b"))
    waiter = asyncio.ensure_future(admission.emptied())
    first.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not waiter.done()
    second.close()
    await waiter


def test_a_block_that_raises_gives_its_place_back() -> None:
    admission = Admission(1, lambda: 0.0)
    for _ in range(3):
        with pytest.raises(KeyError), admission.permit():
            raise KeyError
    with admission.permit():
        assert admission.held == 1


@given(limit=st.integers(1, 100), moves=st.lists(st.integers(0, 60) | st.none(), max_size=60))
def test_the_byte_budget_is_never_overdrawn_and_all_comes_back(limit: int, moves: list[int | None]) -> None:
    budget = ByteBudget(limit)
    held: list[int] = []
    for size in moves:
        if size is None:
            if held:
                budget.release(held.pop(0))
        elif sum(held) + size <= limit:
            budget.reserve(size)
            held.append(size)
        else:
            with pytest.raises(UploadsFull) as refused:
                budget.reserve(size)
            assert refused.value.retry_after == 1
        assert budget.held == sum(held) <= limit
    for size in held:
        budget.release(size)
    assert budget.held == 0

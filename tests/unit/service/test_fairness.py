"""Whose turn it is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fairness import BACKGROUND_TURN, LEAVE_ROOM_S, FairQueue

Move: TypeAlias = tuple[str, str, bool, int]
"""What happens, to whom, whether in the background, and which of the items is meant."""

MOVES = st.lists(
    st.tuples(st.sampled_from(["push", "push", "pop", "discard"]), st.sampled_from("abc"), st.booleans(), st.integers(0, 99)),
    max_size=120,
)


@dataclass
class Naive:
    """The same rules over one list: slow, and plain to see."""

    waiting: list[tuple[int, str, bool]] = field(default_factory=list)
    turns: dict[bool, list[str]] = field(default_factory=lambda: {False: [], True: []})
    """Callers with something that waits, the next one first."""
    passed_over: int = 0

    def of(self, caller: str, background: bool) -> list[int]:
        return [item for item, whose, back in self.waiting if (whose, back) == (caller, background)]

    def push(self, item: int, caller: str, background: bool) -> None:
        if caller not in self.turns[background]:
            self.turns[background].append(caller)
        self.waiting.append((item, caller, background))

    def pop(self) -> int:
        background = bool(self.turns[True])
        if background and self.turns[False]:
            self.passed_over += 1
            background = self.passed_over == BACKGROUND_TURN
        if background:
            self.passed_over = 0
        caller = self.turns[background].pop(0)
        item = self.of(caller, background)[0]
        self.waiting.remove((item, caller, background))
        if self.of(caller, background):
            self.turns[background].append(caller)
        return item

    def discard(self, item: int, caller: str, background: bool) -> None:
        if (item, caller, background) in self.waiting:
            self.waiting.remove((item, caller, background))
            if not self.of(caller, background):
                self.turns[background].remove(caller)


def drain(queue: FairQueue[str]) -> list[str]:
    return [queue.choose().pop() for _ in range(queue.size)]


def filled(interactive: Sequence[str] = (), background: Sequence[str] = ()) -> FairQueue[str]:
    """Items such as `a1`, whose first letter is their caller's name."""
    queue: FairQueue[str] = FairQueue()
    for items, back in ((background, True), (interactive, False)):
        for item in items:
            queue.push(item, item[0], background=back)
    return queue


@given(moves=MOVES)
def test_in_whatever_order_items_come_and_go_the_next_one_is_that_of_the_rules(moves: list[Move]) -> None:
    queue: FairQueue[int] = FairQueue()
    naive = Naive()
    for number, (move, caller, background, choice) in enumerate(moves):
        if move == "push":
            queue.push(number, caller, background=background)
            naive.push(number, caller, background)
        elif move == "pop" and naive.waiting:
            assert queue.choose().pop() == naive.pop()
        elif move == "discard":  # one that waits, or one that was taken long ago
            item, whose, back = (
                naive.waiting[choice % len(naive.waiting)] if naive.waiting and choice % 4 else (-1, caller, background)
            )
            queue.discard(item, whose, background=back)
            naive.discard(item, whose, back)
        assert queue.size == len(naive.waiting)
        assert sorted(queue) == sorted(item for item, _, _ in naive.waiting)
    assert [queue.choose().pop() for _ in range(queue.size)] == [naive.pop() for _ in range(len(naive.waiting))]


def test_callers_take_turns_and_each_ones_items_keep_their_order() -> None:
    assert drain(filled(["a1", "a2", "a3", "b1", "c1", "c2"])) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_who_comes_back_stands_at_the_end() -> None:
    queue = filled(["a1", "b1", "c1"])
    assert queue.choose().pop() == "a1"
    queue.push("a2", "a", background=False)
    assert drain(queue) == ["b1", "c1", "a2"]


@given(moves=MOVES, own=st.integers(0, 5))
def test_nobody_waits_more_than_one_turn_of_every_other_caller_for_each_of_their_own(moves: list[Move], own: int) -> None:
    """However much the others had brought before, or bring while it waits."""
    queue: FairQueue[str] = FairQueue()
    others = [(move, caller) for move, caller, background, _ in moves if not background]
    half = len(others) // 2
    for number, (_, caller) in enumerate(others[:half]):
        queue.push(f"{caller}{number}", caller, background=False)
    for number in range(own + 1):
        queue.push(f"me{number}", "me", background=False)
    popped = []
    for number, (move, caller) in enumerate(others[half:]):
        if move == "push":
            queue.push(f"{caller}{half + number}", caller, background=False)
        else:
            popped.append(queue.choose().pop())
    popped += drain(queue)
    before = popped[: popped.index(f"me{own}")]
    assert all(sum(item[0] == caller for item in before) <= own + 1 for caller in "abc")


def test_interactive_work_goes_before_background_work_that_waits_longer() -> None:
    assert drain(filled(interactive=["a1", "b1"], background=["a9", "c9"])) == ["a1", "b1", "a9", "c9"]


def test_one_turn_in_twenty_is_for_background_work_however_much_interactive_work_there_is() -> None:
    queue = filled([f"a{number}" for number in range(200)], [f"z{number}" for number in range(10)])
    turns = [place for place, item in enumerate(drain(queue)) if item[0] == "z"]
    assert turns[0] == BACKGROUND_TURN - 1 == 19
    assert {later - sooner for sooner, later in pairwise(turns)} == {20}


def test_background_work_alone_gets_every_turn_and_its_callers_take_turns_too() -> None:
    assert drain(filled(background=["a1", "a2", "b1"])) == ["a1", "b1", "a2"]


def test_a_callers_interactive_and_background_work_are_told_apart() -> None:
    queue = filled(interactive=["a1"], background=["a9"])
    queue.discard("a9", "a", background=False)
    assert queue.size == 2
    queue.discard("a9", "a", background=True)
    assert drain(queue) == ["a1"]


@pytest.mark.parametrize(("most", "left"), [(1, 1), (2, 1), (3, 1), (4, 1), (9, 3)])
def test_background_work_has_a_third_of_the_places_for_a_while_after_urgent_work_came(most: int, left: int) -> None:
    queue = FairQueue[str]()
    queue.push("scored", "a", background=True, now=0.0)
    assert queue.places(most, 1.0) == most, "nobody else was ever here"
    queue.push("urgent", "b", background=False, now=2.0)
    assert queue.places(most, 2.0) == most, "it is not for urgent work to leave room"
    queue.discard("urgent", "b", background=False)
    assert queue.places(most, 2.0 + 0.99 * LEAVE_ROOM_S) == left
    assert queue.places(most, 2.0 + 1.01 * LEAVE_ROOM_S) == most


def test_whoever_leaves_takes_nobody_elses_turn() -> None:
    queue = filled(["a1", "a2", "b1", "c1", "c2"])
    queue.discard("a1", "a", background=False)
    queue.discard("b1", "b", background=False)
    queue.discard("c2", "c", background=False)
    queue.discard("c2", "c", background=False)
    assert drain(queue) == ["a2", "c1"]


def test_an_empty_queue_has_no_turn_to_give() -> None:
    queue = filled(["a1"], ["b1"])
    drain(queue)
    with pytest.raises(IndexError):
        queue.choose().pop()
    assert list(queue) == []

"""Ids of requests: unique, ascending, and ULIDs."""

import re
import time

import pytest

from service.api import ids
from service.api.ids import RequestIds

ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def test_ids_are_ulids_that_ascend_and_never_repeat() -> None:
    next_id = RequestIds()
    made = [next_id() for _ in range(50_000)]
    assert all(ULID.fullmatch(one) for one in made)
    assert made == sorted(set(made))


def test_an_id_tells_its_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_469_922_850_259_000_000)
    assert sum(ids.ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(RequestIds()()[:10]))) == (
        1_469_922_850_259
    )


def test_ids_ascend_while_the_clock_stands_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "COUNT_BITS", 3)
    times = iter([5, 5, 5, 3, 3, 4, 4, 4, 4, 4, 4, 4, 9, 9])
    monkeypatch.setattr(time, "time_ns", lambda: next(times) * 1_000_000)
    next_id = RequestIds()
    made = [next_id() for _ in range(14)]
    assert made == sorted(set(made))


def test_two_processes_do_not_make_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    assert RequestIds()() != RequestIds()()

"""Whether anybody is asking for anything."""

from types import SimpleNamespace

import pytest

from service.activity import Activity


def test_it_is_quiet_since_the_last_request(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("service.activity.time", SimpleNamespace(perf_counter=lambda: clock.now))
    activity = Activity()
    clock.now = 103.0
    assert activity.quiet == 3.0
    activity.mark()
    assert activity.quiet == 0.0
    clock.now = 104.0
    assert activity.quiet == 1.0


def test_whoever_measures_is_told_of_the_next_request_and_of_no_earlier_one() -> None:
    activity = Activity()
    activity.mark()
    first = activity.until_next()
    assert not first.is_set()
    activity.mark()
    assert first.is_set()
    second = activity.until_next()
    assert not second.is_set()
    activity.mark()
    activity.mark()
    assert second.is_set()

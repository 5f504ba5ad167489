"""Versions that change while requests are inside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from models.errors import BrokenModel
from service.backends.base import Candidate
from service.domain import Inferred
from service.errors import Closing, ConfigurationError, UnknownVersion
from service.registry import Registry
from service.running import Running
from service.settings import load_settings
from service.tuning import Plan
from tests.support.images import plain
from tests.unit.service.stand_ins import Fake, Measurable, candidate, failed, fake_of, served, soon, until

Opener = Callable[..., Awaitable[Registry]]


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    """Opens a registry that serves candidates of `a`, and closes it at the end."""
    registries: list[Registry] = []

    async def open_registry(*candidates: Candidate, **settings: object) -> Registry:
        registry = Registry(load_settings(default_backend="a", **settings))
        registries.append(registry)
        await registry.open({"a": candidates})
        return registry

    yield open_registry
    for registry in registries:
        await registry.close()


async def ask(running: Running, caller: str = "") -> Inferred:
    """One request, as the pipeline makes it."""
    with running.admission.permit(caller):
        answer: Inferred = await running.batcher.submit(running.backend.prepare(plain(0)), caller=caller)
        return answer


async def inside(running: Running, count: int) -> Sequence["asyncio.Task[Inferred]"]:
    """So many requests that are held until the backend may go on."""
    backend = running.backend
    assert isinstance(backend, Fake)
    backend.go_on.clear()
    tasks = [asyncio.ensure_future(ask(running, str(number))) for number in range(count)]
    await until(lambda: running.admission.held == count, "all are inside")
    return tasks


async def test_a_newer_version_takes_over_and_whoever_is_inside_the_old_one_is_answered_by_it(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.running.LAST_GRACE_S", 0.0)
    registry = await opened(candidate("a", "1"))
    old, old_backend = registry.get("a"), fake_of(registry)
    requests = await inside(old, 20)
    await registry.reload("a", [candidate("a", "2"), candidate("a", "1")])
    assert served(registry) == ["a/2"]
    assert (await ask(registry.get("a"))).scores.argmax() == 0, "a newcomer does not wait for those inside the old one"
    assert not old_backend.closed
    assert not any(request.done() for request in requests)
    old_backend.go_on.set()
    assert [found.scores.argmax() for found in await soon(asyncio.gather(*requests))] == [0] * 20
    await until(lambda: old_backend.closed, "the old version is closed once it is empty")
    assert not fake_of(registry).closed


async def test_a_broken_newer_version_is_reported_and_the_old_one_stays_untouched(opened: Opener) -> None:
    registry = await opened(candidate("a", "1"))
    before = registry.get("a")
    await registry.reload("a", [candidate("a", "2", BrokenModel("half a file")), candidate("a", "1")])
    assert registry.get("a") is before
    assert failed(registry) == {"a/2": "half a file"}
    assert not fake_of(registry).closed


async def test_a_version_known_to_be_unfit_is_reported_with_its_reason(opened: Opener) -> None:
    registry = await opened(candidate("a", "1"))
    await registry.reload("a", [Candidate("2", reason="no card"), candidate("a", "1")])
    assert (served(registry), failed(registry)) == (["a/1"], {"a/2": "no card"})


async def test_failures_are_forgotten_when_the_version_is_mended_or_gone(opened: Opener) -> None:
    registry = await opened(candidate("a", "2", BrokenModel("torn")), candidate("a", "1"))
    assert failed(registry) == {"a/2": "torn"}
    await registry.reload("a", [candidate("a", "3", RuntimeError("odd")), candidate("a", "2"), candidate("a", "1")])
    assert (served(registry), failed(registry)) == (["a/2"], {"a/3": "RuntimeError: odd"})
    await registry.reload("a", [candidate("a", "2")])
    assert (served(registry), failed(registry)) == (["a/2"], {})


async def test_what_has_not_changed_is_not_loaded_again_and_what_has_is(opened: Opener) -> None:
    registry = await opened(candidate("a", "1", stamp="x"))
    before, backend = registry.get("a"), fake_of(registry)
    await registry.reload("a", [candidate("a", "1", AssertionError("loaded again"), stamp="x")])
    assert registry.get("a") is before
    assert failed(registry) == {}
    await registry.reload("a", [candidate("a", "1", stamp="y")])
    assert registry.get("a") is not before
    await until(lambda: backend.closed, "what was replaced is closed")
    assert served(registry) == ["a/1"]


@pytest.mark.parametrize(
    "candidates",
    [[], [candidate("a", "1", BrokenModel("torn"), stamp="y")], [Candidate("1", reason="no card")]],
    ids=["nothing", "broken", "unfit"],
)
async def test_nothing_is_taken_away_for_lack_of_something_better(opened: Opener, candidates: list[Candidate]) -> None:
    registry = await opened(candidate("a", "1", stamp="x"))
    before = registry.get("a")
    await registry.reload("a", candidates)
    assert registry.get("a") is before
    assert len(failed(registry)) == len(candidates)
    assert (await ask(before)).scores.argmax() == 0


async def test_when_the_newest_is_deleted_the_next_older_of_the_store_serves(opened: Opener) -> None:
    registry = await opened(candidate("a", "2"), candidate("a", "1"))
    newest = fake_of(registry)
    await registry.reload("a", [candidate("a", "1")])
    assert served(registry) == ["a/1"]
    await until(lambda: newest.closed, "the deleted one is closed")


async def test_as_many_versions_are_kept_as_the_settings_say_newest_first(opened: Opener) -> None:
    registry = await opened(candidate("a", "2"), candidate("a", "1"), keep_versions=2)
    second, first = registry.get("a", "2"), fake_of(registry, version="1")
    await registry.reload("a", [candidate("a", version) for version in ("4", "3", "2", "1")][1:])
    assert served(registry) == ["a/3", "a/2"]
    assert registry.get("a", "2") is second
    with pytest.raises(UnknownVersion, match="Loaded: 3, 2"):
        registry.get("a", "1")
    await until(lambda: first.closed, "the oldest is closed")
    await registry.reload("a", [candidate("a", "4", BrokenModel("torn")), candidate("a", "3"), candidate("a", "2")])
    assert served(registry) == ["a/3", "a/2"]


async def test_a_new_name_is_served_beside_the_others(opened: Opener) -> None:
    registry = await opened(candidate("a", "1"))
    before = registry.get("a")
    await registry.reload("b", [candidate("b", "1")])
    assert served(registry) == ["a/1", "b/1"]
    assert registry.get("a") is before


@pytest.mark.parametrize("passed_on", [Plan(2, 3, 1), None])
async def test_a_newer_version_is_loaded_with_the_plan_of_the_one_whose_place_it_takes_unless_that_is_its_default(
    opened: Opener, passed_on: Plan | None
) -> None:
    inherited: list[Plan | None] = []
    tunable = Measurable()
    tunable.tuning.source = "measured"
    registry = await opened(candidate("a", "1", tunable=tunable, inherited=inherited))
    await tunable.adopt(passed_on or tunable.default)
    await registry.reload("a", [candidate("a", "2", inherited=inherited), candidate("a", "1")])
    await registry.reload("a", [candidate("a", "3", inherited=inherited)])
    assert inherited == [None, passed_on, None]


async def test_reloads_of_one_name_come_one_after_the_other(opened: Opener) -> None:
    made: list[Fake] = []

    def remember(version: str) -> Candidate:
        def load(_inherited: Plan | None) -> Fake:
            made.append(Fake("a", version))
            return made[-1]

        return Candidate(version, load)

    registry = await opened(remember("1"))
    await soon(asyncio.gather(registry.reload("a", [remember("2")]), registry.reload("a", [remember("3")])))
    assert served(registry) == ["a/3"]
    await until(lambda: [fake.closed for fake in made] == [True, True, False], "both older ones are closed")


async def test_who_stays_inside_a_retired_version_past_its_deadline_is_refused(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.running.LAST_GRACE_S", 0.0)
    registry = await opened(candidate("a", "1"), deadline_ms=1, grace_s=0)
    old = fake_of(registry)
    requests = await inside(registry.get("a"), 3)
    await registry.reload("a", [candidate("a", "2")])
    found: Sequence[Any] = await soon(asyncio.gather(*requests, return_exceptions=True))
    assert [type(error) for error in found] == [Closing] * 3
    await until(lambda: old.closed, "it is closed all the same")


async def test_a_device_that_fails_meanwhile_is_told_to_who_reloads_and_the_old_one_stays(opened: Opener) -> None:
    registry = await opened(candidate("a", "1"))
    with pytest.raises(ConfigurationError, match="no GPU"):
        await registry.reload("a", [candidate("a", "2", ConfigurationError("no GPU"))])
    assert served(registry) == ["a/1"]
    await registry.reload("a", [candidate("a", "2")])
    assert served(registry) == ["a/2"], "and the next reload finds the way free"

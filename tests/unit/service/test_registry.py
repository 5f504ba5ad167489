"""What is served, out of what could be."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from models.errors import BrokenModel, ModelError
from service.backends.base import Candidate
from service.errors import Closing, ConfigurationError, NotReady, UnknownBackend, UnknownVersion
from service.registry import Registry
from service.settings import load_settings
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.unit.service.stand_ins import Fake, candidate, failed, served
from tests.unit.service.stores import alter_file, find_in, open_store, remove_card


async def open_registry(found: Mapping[str, Sequence[Candidate]], **settings: object) -> Registry:
    registry = Registry(load_settings(**settings))
    await registry.open(found)
    return registry


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where the settings look, empty as yet."""
    return tmp_path / "store"


async def test_the_newest_version_is_served_by_number_and_not_by_alphabet(store: Path) -> None:
    for _ in range(10):
        tiny_model(store)
    registry = await open_store(store)
    assert served(registry) == ["tiny/10"]
    assert registry.get("tiny").identity.version == "10"
    assert failed(registry) == {}
    await registry.close()


async def test_older_versions_are_kept_if_asked_for(store: Path) -> None:
    for _ in range(3):
        tiny_model(store)
    registry = await open_store(store, keep_versions=2)
    assert served(registry) == ["tiny/3", "tiny/2"]
    assert registry.get("tiny", "2").identity.version == "2"
    with pytest.raises(UnknownVersion, match="Loaded: 3, 2"):
        registry.get("tiny", "1")
    await registry.close()


async def test_a_loaded_model_answers_rightly(store: Path) -> None:
    tiny_model(store, labels=("black", "grey", "white"))
    registry = await open_store(store)
    running = registry.get("tiny")
    for level, expected in ((0, 0), (128, 1), (255, 2)):
        answer = await running.batcher.submit(running.backend.prepare(plain(level)))
        assert int(answer.scores.argmax()) == expected
    await registry.close()


async def test_a_model_without_a_sound_version_is_not_ready_and_says_why(store: Path) -> None:
    alter_file(tiny_model(store))
    registry = await open_store(store)
    assert not registry.ready
    with pytest.raises(NotReady, match=r"version 1: .*SHA-256 differs"):
        registry.get("tiny")


@pytest.mark.parametrize(
    "error", [BrokenModel("half a file"), RuntimeError("what no one foresaw")], ids=lambda error: type(error).__name__
)
async def test_whatever_a_version_raises_when_it_is_loaded_harms_no_other(error: Exception) -> None:
    found = {"good": [candidate("good", "1")], "bad": [candidate("bad", "2", error), candidate("bad", "1")]}
    registry = await open_registry(found)
    assert served(registry) == ["bad/1", "good/1"]
    assert list(failed(registry)) == ["bad/2"]
    await registry.close()


async def test_an_empty_store_serves_nothing_and_says_so(store: Path) -> None:
    registry = await open_store(store)
    assert not registry.ready
    assert served(registry) == []
    with pytest.raises(NotReady, match="holds no model"):
        registry.get()
    await registry.close()


async def test_folders_that_are_no_models_are_passed_over(store: Path) -> None:
    tiny_model(store)
    for folder in ("lost+found", ".new-abc/1", "tiny/latest", "Tiny/1", "other"):
        (store / folder).mkdir(parents=True)
    (store / "README").write_text("hello")
    registry = await open_store(store)
    assert served(registry) == ["tiny/1"]
    assert failed(registry) == {}
    await registry.close()


async def test_the_default_is_cnn_if_there_is_one() -> None:
    registry = await open_registry({name: [candidate(name, "1")] for name in ("alpha", "cnn", "zeta")})
    assert registry.get().identity.name == registry.default == "cnn"


async def test_without_a_cnn_the_default_is_the_first_by_name() -> None:
    registry = await open_registry({name: [candidate(name, "1")] for name in ("zeta", "beta")})
    assert registry.get().identity.name == registry.default == "beta"


async def test_the_default_can_be_chosen() -> None:
    found = {name: [candidate(name, "1")] for name in ("cnn", "zeta")}
    assert (await open_registry(found, default_backend="zeta")).default == "zeta"


@pytest.mark.parametrize("chosen", ["transfer", "cnn"])
async def test_a_default_that_was_chosen_and_is_not_there_ends_the_start(chosen: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PARALLAX_DEFAULT_BACKEND={chosen}.*There are: beta"):
        await open_registry({"beta": [candidate("beta", "1")]}, default_backend=chosen)


async def test_a_chosen_default_that_could_not_be_loaded_stays_the_default() -> None:
    found = {"beta": [candidate("beta", "1")], "zeta": [candidate("zeta", "1", ModelError("torn"))]}
    registry = await open_registry(found, default_backend="zeta")
    with pytest.raises(NotReady, match="torn"):
        registry.get()


async def test_an_unknown_name_lists_those_that_are_there() -> None:
    registry = await open_registry({name: [candidate(name, "1")] for name in ("b", "a")})
    with pytest.raises(UnknownBackend, match="There are: a, b"):
        registry.get("c")


async def test_a_missing_device_ends_the_start_and_is_not_one_versions_fault() -> None:
    found = {"cnn": [candidate("cnn", "2", ConfigurationError("no GPU")), candidate("cnn", "1")]}
    with pytest.raises(ConfigurationError, match="no GPU"):
        await open_registry(found)


async def test_closing_answers_those_who_were_accepted_then_closes_the_backends() -> None:
    registry = await open_registry({"a": [candidate("a", "1")], "b": [candidate("b", "1")]})
    running = list(registry.running)
    pixels = running[0].backend.prepare(plain(0))
    answers = [asyncio.ensure_future(one.batcher.submit(pixels)) for one in running for _ in range(20)]
    await asyncio.sleep(0)  # they are accepted now
    await registry.close()
    assert all(answer.done() and answer.result().scores.argmax() == 0 for answer in answers)
    assert all(one.backend.closed for one in running if isinstance(one.backend, Fake))
    assert not registry.ready


async def test_closing_does_not_wait_for_a_backend_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.running.LAST_GRACE_S", 0.0)
    monkeypatch.setattr(Fake, "infer", lambda _self, _batch: asyncio.Future())
    registry = await open_registry({"a": [candidate("a", "1")]})
    running = registry.get("a")
    answers = [asyncio.ensure_future(running.batcher.submit(running.backend.prepare(plain(0)))) for _ in range(20)]
    await asyncio.sleep(0)  # they are accepted now
    async with asyncio.timeout(30):
        await registry.close()
        errors = await asyncio.gather(*answers, return_exceptions=True)
    assert {type(error) for error in errors} == {Closing}


def test_an_unsound_listing_tells_the_store_apart_from_the_stand_in(store: Path) -> None:
    tiny_model(store)
    remove_card(tiny_model(store))
    found = find_in(store, fake={"labels": ["a", "b"]})
    assert {name: [one.version for one in versions] for name, versions in found.items()} == {"tiny": ["2", "1"], "fake": ["1"]}
    assert found["tiny"][0].load is None

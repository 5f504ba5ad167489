"""What is served, out of what could be."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import BrokenModel, ModelError
from models.metadata import ModelCard, read_card, stored_file, write_card
from models.repository import Repository, StoredModel
from service.backends.base import Candidate
from service.backends.factory import candidates
from service.backends.fake import FakeBackend
from service.domain import Identity
from service.errors import Closing, ConfigurationError, NotReady, UnknownBackend, UnknownVersion
from service.registry import Registry
from service.settings import Settings, load_settings
from tests.support.images import plain
from tests.support.models import tiny_model

Opened = tuple[Registry, Mapping[str, Sequence[Candidate]]]


class Fake(FakeBackend):
    """A backend of any name and version that remembers being closed."""

    def __init__(self, settings: Settings, name: str, version: str) -> None:
        super().__init__(settings)
        self.identity = Identity(name, "fake", version, "none", "none", ("a", "b"))
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def candidate(name: str, version: str, error: Exception | None = None) -> Candidate:
    def load() -> Fake:
        if error:
            raise error
        return Fake(load_settings(fake={"labels": ["a", "b"]}), name, version)

    return Candidate(version, load)


async def open_registry(found: Mapping[str, Sequence[Candidate]], **settings: object) -> Registry:
    registry = Registry(load_settings(**settings))
    await registry.open(found)
    return registry


async def open_store(**settings: object) -> Registry:
    chosen = load_settings(**settings)
    return await open_registry(candidates(Repository(chosen.models_dir), chosen, 1), **settings)


def served(registry: Registry) -> list[str]:
    return [f"{running.identity.name}/{running.identity.version}" for running in registry.running]


def failed(registry: Registry) -> dict[str, str]:
    return {f"{failure.name}/{failure.version}": failure.reason for failure in registry.failures}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where the settings look, empty as yet."""
    return tmp_path / "store"


async def test_the_newest_version_is_served_by_number_and_not_by_alphabet(store: Path) -> None:
    for _ in range(10):
        tiny_model(store)
    registry = await open_store()
    assert served(registry) == ["tiny/10"]
    assert registry.get("tiny").identity.version == "10"
    assert failed(registry) == {}
    await registry.close()


async def test_older_versions_are_kept_if_asked_for(store: Path) -> None:
    for _ in range(3):
        tiny_model(store)
    registry = await open_store(keep_versions=2)
    assert served(registry) == ["tiny/3", "tiny/2"]
    assert registry.get("tiny", "2").identity.version == "2"
    with pytest.raises(UnknownVersion, match="Loaded: 3, 2"):
        registry.get("tiny", "1")
    await registry.close()


async def test_a_loaded_model_answers_rightly(store: Path) -> None:
    tiny_model(store, labels=("black", "grey", "white"))
    registry = await open_store()
    running = registry.get("tiny")
    for level, expected in ((0, 0), (128, 1), (255, 2)):
        answer = await running.batcher.submit(running.backend.prepare(plain(level)))
        assert int(answer.value.argmax()) == expected
    await registry.close()


def alter_file(stored: StoredModel) -> None:
    with (stored.folder / stored.card.variants[0].file).open("ab") as file:
        file.write(b"\0")


def remove_file(stored: StoredModel) -> None:
    (stored.folder / stored.card.variants[0].file).unlink()


def break_card(stored: StoredModel) -> None:
    (stored.folder / "model.json").write_text("{")


def remove_card(stored: StoredModel) -> None:
    (stored.folder / "model.json").unlink()


def vouch(stored: StoredModel, **changes: object) -> None:
    """Write a card whose digests agree with the files, whatever is in them: what a careless or malicious exporter makes."""
    card = read_card(stored.folder)
    files = {file.file: stored_file(stored.folder / file.file).sha256 for file in card.files}
    variants = [variant.model_copy(update={"sha256": files[variant.file]}) for variant in card.variants]
    golden = card.golden.model_copy(update={"sha256": files[card.golden.file]})
    write_card(
        stored.folder,
        ModelCard.model_validate((card.model_copy(update={"variants": variants, "golden": golden})).model_dump() | changes),
    )


def alter_golden(stored: StoredModel, change: Callable[[dict[str, Any]], None]) -> None:
    path = stored.folder / stored.card.golden.file
    with np.load(path) as golden:
        arrays: dict[str, Any] = dict(golden)
    change(arrays)
    np.savez(path, allow_pickle=True, **arrays)
    vouch(stored)


def shift_scores(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(scores_fp32=arrays["scores_fp32"] + 0.01))


def shift_pixels(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(pixels_sha256=np.array(["0" * 64] * len(arrays["pixels_sha256"]))))


def forget_scores(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.pop("scores_fp32"))


def nan_scores(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(scores_fp32=arrays["scores_fp32"] * np.nan))


def no_images(stored: StoredModel) -> None:
    alter_golden(
        stored, lambda arrays: arrays.update(pixels_sha256=np.array([], dtype="<U64"), scores_fp32=arrays["scores_fp32"][:0])
    )


def undecodable_image(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(file_0=np.frombuffer(b"no picture", np.uint8)))


def pickled(stored: StoredModel) -> None:
    alter_golden(stored, lambda arrays: arrays.update(scores_fp32=np.array([{"code": "to run"}], dtype=object)))


def no_archive(stored: StoredModel) -> None:
    (stored.folder / stored.card.golden.file).write_bytes(b"PK\x03\x04 half a zip")
    vouch(stored)


def no_graph(stored: StoredModel) -> None:
    (stored.folder / stored.card.variants[0].file).write_bytes(b"no graph")
    vouch(stored)


def wrong_input(stored: StoredModel) -> None:
    """The card says another size than the graph takes."""
    vouch(stored, input={"height": 48, "width": 48})
    alter_golden(stored, lambda arrays: None)


def wrong_labels(stored: StoredModel) -> None:
    vouch(stored, labels=["a", "b", "c"])


UNFIT: list[tuple[Callable[[StoredModel], None], str]] = [
    (alter_file, "SHA-256 differs"),
    (remove_file, "can't be read"),
    (break_card, "can't be read"),
    (remove_card, "has no model.json"),
    (shift_scores, "golden scores differ"),
    (shift_pixels, "other pixels"),
    (forget_scores, "golden.npz can't be read"),
    (nan_scores, "golden scores differ"),
    (no_images, "golden"),
    (undecodable_image, "golden"),
    (pickled, "golden.npz can't be read"),
    (no_archive, "golden.npz can't be read"),
    (no_graph, "can't be loaded"),
    (wrong_input, "golden"),
    (wrong_labels, "2 scores for 3 labels"),
]


@pytest.mark.parametrize(("spoil", "reason"), UNFIT, ids=lambda value: getattr(value, "__name__", ""))
async def test_an_unfit_newest_version_is_reported_and_the_older_one_serves(
    store: Path, spoil: Callable[[StoredModel], None], reason: str
) -> None:
    tiny_model(store)
    spoil(tiny_model(store))
    tiny_model(store, "other")
    registry = await open_store()
    assert served(registry) == ["other/1", "tiny/1"]
    assert list(failed(registry)) == ["tiny/2"]
    assert reason in failed(registry)["tiny/2"]
    await registry.close()


async def test_a_model_without_a_sound_version_is_not_ready_and_says_why(store: Path) -> None:
    alter_file(tiny_model(store))
    registry = await open_store()
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
    registry = await open_store()
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
    registry = await open_store()
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
    assert all(answer.done() and answer.result().value.argmax() == 0 for answer in answers)
    assert all(one.backend.closed for one in running if isinstance(one.backend, Fake))
    assert not registry.ready


async def test_closing_does_not_wait_for_a_backend_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.registry.LAST_GRACE_S", 0.0)
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
    settings = load_settings(fake={"labels": ["a", "b"]})
    found = candidates(Repository(store), settings, 1)
    assert {name: [one.version for one in versions] for name, versions in found.items()} == {"tiny": ["2", "1"], "fake": ["1"]}
    assert found["tiny"][0].load is None

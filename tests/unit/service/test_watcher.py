"""What changes in the store is served, without a word to the service."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.card_files import write_card
from models.repository import Repository, Stamps
from service.backends.base import Candidate
from service.backends.factory import finder
from service.errors import ConfigurationError
from service.plans import PlanBook
from service.registry import Registry
from service.settings import load_settings
from service.watcher import Watcher
from tests.support.models import tiny_model
from tests.unit.service.stand_ins import failed, served, until


@dataclass
class Watched:
    """A store with what is served of it."""

    store: Path
    repository: Repository
    registry: Registry
    watcher: Watcher
    looks: int = 0
    """How often it was looked at."""


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    """A store with `tiny/1` and `other/1`, watched without a pause."""
    store = tmp_path / "store"
    tiny_model(store)
    tiny_model(store, "other")
    settings = load_settings(models_dir=store, device="cpu")
    registry, repository = Registry(settings), Repository(store)
    find = finder(repository, settings, 1, PlanBook(tmp_path / "plans", 1))
    made = Watched(store, repository, registry, Watcher(registry, repository, find, 0.0))
    stamps = Repository.stamps

    def count(self: Repository) -> Stamps:
        made.looks += 1
        return stamps(self)

    monkeypatch.setattr(Repository, "stamps", count)
    await made.watcher.open()
    watching = asyncio.ensure_future(made.watcher.run())
    yield made
    watching.cancel()
    await asyncio.wait([watching])
    await registry.close()


async def look_twice(watched: Watched) -> None:
    """Wait until what was there when this began has been looked at, and dealt with."""
    seen = watched.looks + 2
    await until(lambda: watched.looks > seen, "it looks again and again")


async def test_a_version_that_is_added_is_served_and_nobody_else_is_touched(watched: Watched) -> None:
    other = watched.registry.get("other")
    tiny_model(watched.store)
    await until(lambda: served(watched.registry) == ["other/1", "tiny/2"], "the new version is served")
    assert watched.registry.get("other") is other


async def test_a_model_of_a_new_name_is_served(watched: Watched) -> None:
    tiny_model(watched.store, "new")
    await until(lambda: served(watched.registry) == ["new/1", "other/1", "tiny/1"], "the new model is served")


async def test_when_the_newest_version_is_deleted_the_older_one_serves_again(watched: Watched) -> None:
    tiny_model(watched.store)
    await until(lambda: "tiny/2" in served(watched.registry), "the new version is served")
    watched.repository.delete("tiny", "2")
    await until(lambda: "tiny/1" in served(watched.registry), "the older version serves")


async def test_the_last_version_of_a_name_goes_on_serving_when_it_is_deleted(watched: Watched) -> None:
    before = watched.registry.get("tiny")
    watched.repository.delete("tiny", "1")
    await look_twice(watched)
    assert watched.registry.get("tiny") is before


async def test_a_card_that_is_written_anew_is_read_and_its_model_loaded_again(watched: Watched) -> None:
    before = watched.registry.get("tiny")
    card = watched.repository.get("tiny").card
    watched.repository.update(card.model_copy(update={"labels": ["night", "day"]}))
    await until(lambda: watched.registry.get("tiny").identity.labels == ("night", "day"), "the new labels are served")
    assert watched.registry.get("tiny") is not before


async def test_a_card_that_was_only_touched_changes_nothing(watched: Watched) -> None:
    before = watched.registry.get("tiny")
    watched.repository.update(watched.repository.get("tiny").card)
    await look_twice(watched)
    assert watched.registry.get("tiny") is before


async def test_a_version_appears_with_its_card_however_slowly_the_rest_is_copied(watched: Watched) -> None:
    stored = watched.repository.get("tiny")
    copy = watched.store / "tiny" / "2"
    copy.mkdir()
    for file in stored.folder.iterdir():
        if file.name != "model.json":
            shutil.copy(file, copy)
    await look_twice(watched)
    assert served(watched.registry) == ["other/1", "tiny/1"]
    assert failed(watched.registry) == {}
    write_card(copy, stored.card.model_copy(update={"version": "2"}))
    await until(lambda: "tiny/2" in served(watched.registry), "it is complete now")


async def test_a_broken_version_is_reported_and_a_mended_one_served(watched: Watched) -> None:
    stored = tiny_model(watched.store.with_name("elsewhere"))
    folder = watched.store / "tiny" / "2"
    folder.mkdir()
    (folder / "model.json").write_text("{")
    await until(lambda: "tiny/2" in failed(watched.registry), "the broken version is reported")
    assert "tiny/1" in served(watched.registry)
    for file in stored.folder.iterdir():
        if file.name != "model.json":
            shutil.copy(file, folder)
    write_card(folder, stored.card.model_copy(update={"version": "2"}))
    await until(lambda: "tiny/2" in served(watched.registry), "the mended version is served")
    assert failed(watched.registry) == {}


async def test_a_store_that_is_gone_for_a_while_changes_nothing(watched: Watched) -> None:
    before = watched.registry.running
    watched.store.rename(watched.store.with_name("unmounted"))
    await look_twice(watched)
    assert watched.registry.running == before
    watched.store.with_name("unmounted").rename(watched.store)
    tiny_model(watched.store)
    await until(lambda: "tiny/2" in served(watched.registry), "what came later is served")
    assert watched.registry.get("other") in before


async def test_a_store_in_which_nothing_changes_is_not_read(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await look_twice(watched)
    monkeypatch.setattr(Repository, "scan", lambda _self: 1 / 0)
    await look_twice(watched)
    assert [record.message for record in caplog.records if record.name == "parallax.watcher"] == []


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, method: str, looks: list[int]) -> Iterator[None]:
    def fail(_self: Repository) -> Stamps:
        looks.append(1)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Repository, method, fail)
        yield


async def test_a_store_that_can_not_be_read_for_a_while_is_logged_and_changes_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = watched.registry.running
    looks: list[int] = []
    with broken(monkeypatch, "stamps", looks):
        await until(lambda: len(looks) > 2, "it looks again and again")
        tiny_model(watched.store)
    assert [record.levelno for record in caplog.records if record.name == "parallax.watcher"][:2] == [logging.ERROR] * 2
    await until(lambda: "tiny/2" in served(watched.registry), "what came meanwhile is served as soon as it can be read")
    assert watched.registry.get("other") in before


async def test_a_name_can_be_reloaded_by_request_though_nothing_seems_changed(watched: Watched) -> None:
    before = watched.registry.get("tiny")
    await watched.watcher.reload("tiny")
    assert watched.registry.get("tiny") is before, "what is the same is not loaded again"
    await watched.watcher.reload("unheard-of")
    assert served(watched.registry) == ["other/1", "tiny/1"]


async def test_a_version_whose_files_came_after_its_card_is_loaded_by_request(watched: Watched) -> None:
    stored = watched.repository.get("tiny")
    folder = watched.store / "tiny" / "2"
    folder.mkdir()
    write_card(folder, stored.card.model_copy(update={"version": "2"}))
    await until(lambda: "tiny/2" in failed(watched.registry), "its files are missed")
    for file in stored.card.files:
        shutil.copy(stored.folder / file.file, folder)
    await look_twice(watched)
    assert "tiny/1" in served(watched.registry), "who copies a card first has nobody watching"
    await watched.watcher.reload("tiny")
    assert "tiny/2" in served(watched.registry)
    assert failed(watched.registry) == {}


async def test_a_store_that_can_not_be_used_as_asked_ends_the_start(tmp_path: Path) -> None:
    def find() -> Mapping[str, Sequence[Candidate]]:
        def load(_inherited: object) -> None:
            raise ConfigurationError("no GPU")

        return {"a": [Candidate("1", load)]}  # type: ignore[arg-type]  # it makes no backend at all

    registry = Registry(load_settings())
    with pytest.raises(ConfigurationError, match="no GPU"):
        await Watcher(registry, Repository(tmp_path), find, 1.0).open()
    await registry.close()


def test_stamps_tell_versions_that_are_complete_and_change_when_a_card_is_written(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    assert repository.stamps() == {}
    for name in ("tiny", "tiny", "other"):
        tiny_model(tmp_path, name)
    for folder in ("tiny/3", "tiny/latest", ".new-abc/1", "Tiny/1"):
        (tmp_path / folder).mkdir(parents=True)
    before = repository.stamps()
    assert set(before) == {("tiny", "1"), ("tiny", "2"), ("other", "1")}
    assert repository.stamps() == before
    repository.update(repository.get("tiny", "1").card)
    assert {version for version, _ in before.items() ^ repository.stamps().items()} == {("tiny", "1")}
    repository.delete("tiny", "2")
    assert set(repository.stamps()) == {("tiny", "1"), ("other", "1")}

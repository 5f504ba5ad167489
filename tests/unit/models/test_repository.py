"""The store: the newest sound version, broken ones beside sound ones, adding in one step."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import ValidationError

from models import repository as repository_module
from models.card_files import read_card, write_card
from models.errors import BrokenModel, UnknownModel, UsageError
from models.metadata import CARD_FILE, InputSpec, ModelCard, StoredFile, Variant, check_name, stored_file
from models.repository import Repository
from tests.support.models import tiny_model

DIGEST = "0" * 64


def card(name: str = "tiny", version: str = "1", labels: tuple[str, ...] = ("dark", "bright")) -> ModelCard:
    return ModelCard(
        name=name,
        version=version,
        labels=list(labels),
        input=InputSpec(height=32, width=32),
        variants=[Variant(file="model.onnx", sha256=DIGEST, precision="fp32")],
        golden=StoredFile(file="golden.npz", sha256=DIGEST),
    )


def put(store: Path, name: str, version: str) -> Path:
    """A version that has nothing but its card."""
    folder = store / name / version
    folder.mkdir(parents=True)
    write_card(folder, card(name, version))
    return folder


def versions(store: Path) -> list[str]:
    return [f"{stored.card.name}/{stored.card.version}" for stored in Repository(store).scan().models]


def test_the_newest_version_is_the_highest_number(tmp_path: Path) -> None:
    for version in ("9", "10", "2", "1"):
        put(tmp_path, "tiny", version)
    assert Repository(tmp_path).get("tiny").card.version == "10"
    assert versions(tmp_path) == ["tiny/1", "tiny/2", "tiny/9", "tiny/10"]


def test_a_version_can_be_asked_for_by_its_number(tmp_path: Path) -> None:
    for version in ("1", "2"):
        put(tmp_path, "tiny", version)
    stored = Repository(tmp_path).get("tiny", "1")
    assert (stored.card.version, stored.folder) == ("1", tmp_path / "tiny" / "1")


def test_names_come_in_order_and_litter_is_no_model(tmp_path: Path) -> None:
    for name in ("transfer", "cnn"):
        put(tmp_path, name, "1")
    for folder in ("empty", "Upper/1", ".new-abc/1", "cnn/01", "cnn/0", "cnn/v3", "cnn/1.old", "cnn/²", "9lives/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").touch()
    (tmp_path / "cnn" / "4").touch()
    assert Repository(tmp_path).names() == ["cnn", "transfer"]
    assert versions(tmp_path) == ["cnn/1", "transfer/1"]
    assert Repository(tmp_path).scan().broken == []


@pytest.mark.parametrize("made", [True, False], ids=["empty", "missing"])
def test_a_store_that_is_empty_or_missing_holds_nothing(tmp_path: Path, made: bool) -> None:
    store = tmp_path / "store"
    if made:
        store.mkdir()
    repository = Repository(store)
    assert (repository.names(), repository.scan().models, repository.scan().broken) == ([], [], [])
    with pytest.raises(UnknownModel, match="names: none"):
        repository.get("tiny")


def spoil_card(folder: Path) -> None:
    (folder / CARD_FILE).write_text('{"format": 1', encoding="utf-8")


def future_card(folder: Path) -> None:
    values = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    (folder / CARD_FILE).write_text(json.dumps({**values, "format": 2}), encoding="utf-8")


def card_folder(folder: Path) -> None:
    (folder / CARD_FILE).unlink()
    (folder / CARD_FILE).mkdir()


def unknown_field(folder: Path) -> None:
    values = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    (folder / CARD_FILE).write_text(json.dumps({**values, "lables": []}), encoding="utf-8")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "half-written": (lambda folder: (folder / CARD_FILE).unlink(), "has no model.json: it is half-written or not a model"),
    "cut short": (spoil_card, "model.json can't be read"),
    "not text": (lambda folder: (folder / CARD_FILE).write_bytes(b"\xff\xfe\0"), "model.json can't be read"),
    "of a later format": (future_card, "model.json can't be read"),
    "of unknown fields": (unknown_field, "lables"),
    "another name": (lambda folder: write_card(folder, card("other", "2")), "tiny/2 holds a card for other/2"),
    "another version": (lambda folder: write_card(folder, card("tiny", "3")), "tiny/2 holds a card for tiny/3"),
    "a folder as card": (card_folder, "model.json can't be read"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_version_is_reported_and_harms_none_of_the_others(tmp_path: Path, how: str) -> None:
    spoil, reason = BROKEN[how]
    put(tmp_path, "tiny", "1")
    put(tmp_path, "other", "1")
    spoil(put(tmp_path, "tiny", "2"))
    repository = Repository(tmp_path)
    assert versions(tmp_path) == ["other/1", "tiny/1"]
    (broken,) = repository.scan().broken
    assert (broken.name, broken.version) == ("tiny", "2")
    assert reason in broken.reason
    assert repository.get("tiny").card.version == "1"
    with pytest.raises(BrokenModel, match=r"tiny/2"):
        repository.get("tiny", "2")


def test_a_name_whose_versions_are_all_broken_is_unknown_and_says_which_there_are(tmp_path: Path) -> None:
    for version in ("3", "4"):
        spoil_card(put(tmp_path, "tiny", version))
    with pytest.raises(UnknownModel, match=r"no sound version of 'tiny' .*; versions of tiny: 3, 4"):
        Repository(tmp_path).get("tiny")


@pytest.mark.parametrize("version", ["2", "01", "0", "-1", "x", "1/../1", ".", "1 "])
def test_a_version_that_is_not_there_is_unknown(tmp_path: Path, version: str) -> None:
    put(tmp_path, "tiny", "1")
    with pytest.raises(UnknownModel, match="versions of tiny: 1"):
        Repository(tmp_path).get("tiny", version)


@pytest.mark.parametrize("name", ["other", "..", ".", "../store/tiny", "TINY", "tiny/1"])
def test_a_name_that_is_not_there_is_unknown(tmp_path: Path, name: str) -> None:
    put(tmp_path / "store", "tiny", "1")
    with pytest.raises(UnknownModel, match="names: tiny"):
        Repository(tmp_path / "store").get(name)


@pytest.mark.parametrize("linked", ["tiny/2", "tiny"])
def test_a_link_that_leaves_the_store_is_broken(tmp_path: Path, linked: str) -> None:
    outside = put(tmp_path / "outside", "tiny", "2")
    store = tmp_path / "store"
    (store / linked).parent.mkdir(parents=True)
    (store / linked).symlink_to(outside if linked == "tiny/2" else outside.parent, target_is_directory=True)
    (broken,) = Repository(store).scan().broken
    assert broken.reason == "tiny/2 is a link that leaves the store"
    with pytest.raises(UnknownModel):
        Repository(store).get("tiny")


def test_a_store_may_itself_be_a_link(tmp_path: Path) -> None:
    put(tmp_path / "volume", "tiny", "1")
    (tmp_path / "store").symlink_to(tmp_path / "volume", target_is_directory=True)
    assert versions(tmp_path / "store") == ["tiny/1"]


@pytest.mark.parametrize(
    "file", ["../model.onnx", "/etc/passwd", "a/b.onnx", "a\\b.onnx", "", ".", "..", ".hidden", "-x", "a\nb"]
)
def test_a_card_names_files_of_its_own_folder_only(file: str) -> None:
    with pytest.raises(ValidationError):
        StoredFile(file=file, sha256=DIGEST)


@pytest.mark.parametrize("name", ["cnn", "cnn_residual", "a", "a-1", "x" * 63])
def test_a_name_is_lower_case_and_begins_with_a_letter(name: str) -> None:
    assert check_name(name) == name
    assert card(name).name == name


@pytest.mark.parametrize("name", ["", "Cnn", "1cnn", "a b", "a/b", "..", "-a", "_a", "é", "x" * 64, "cnn\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be a model's name"):
        check_name(name)
    with pytest.raises(ValidationError):
        card(name)


@pytest.mark.parametrize("version", ["", "0", "01", "-1", "1.0", "v1", "1234567890", "1\n", "²"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(ValidationError):
        card(version=version)


@pytest.mark.parametrize("labels", [("one",), (), ("same", "same")])
def test_labels_are_two_or_more_and_different(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        card(labels=labels)


def test_a_precision_stands_once() -> None:
    values = card().model_dump()
    with pytest.raises(ValidationError, match="a precision stands twice"):
        ModelCard.model_validate({**values, "variants": values["variants"] * 2})


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "1"
    folder.mkdir(parents=True)
    written = card(labels=("Straße", "größer"))
    write_card(folder, written)
    assert read_card(folder) == written
    assert "Straße" in (folder / CARD_FILE).read_text(encoding="utf-8")
    assert [path.name for path in folder.iterdir()] == [CARD_FILE]


def new_files(repository: Repository, content: bytes = b"weights") -> Path:
    folder = repository.workspace()
    (folder / "model.onnx").write_bytes(content)
    return folder


def test_an_added_version_gets_the_next_number_whatever_its_card_says(tmp_path: Path) -> None:
    put(tmp_path, "tiny", "9")
    repository = Repository(tmp_path)
    stored = repository.add(card(version="3"), new_files(repository))
    assert (stored.card.version, stored.folder) == ("10", tmp_path / "tiny" / "10")
    assert repository.get("tiny").card == stored.card
    assert (stored.folder / "model.onnx").read_bytes() == b"weights"
    assert not list(tmp_path.glob(".new-*"))


def test_a_number_is_not_given_again_while_a_broken_version_holds_it(tmp_path: Path) -> None:
    put(tmp_path, "tiny", "1")
    spoil_card(put(tmp_path, "tiny", "2"))
    repository = Repository(tmp_path)
    assert repository.add(card(), new_files(repository)).card.version == "3"


def test_a_workspace_is_on_no_list_and_readable_by_the_server(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "store")
    folder = new_files(repository)
    write_card(folder, card())
    assert folder.parent == tmp_path / "store"
    assert (repository.names(), repository.scan().broken) == ([], [])
    assert folder.stat().st_mode & 0o777 == 0o755
    assert repository.workspace() != folder


def test_many_who_add_at_once_get_a_number_each(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    together = Barrier(8)

    def add(number: int) -> str:
        files = new_files(repository, str(number).encode())
        together.wait()
        return repository.add(card(), files).card.version

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(add, range(8)))
    assert sorted(given, key=int) == [str(number) for number in range(1, 9)]
    for number, version in enumerate(given):
        stored = repository.get("tiny", version)
        assert (stored.folder / "model.onnx").read_bytes() == str(number).encode()


def test_a_number_that_another_takes_at_the_last_moment_is_left_to_him(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    wanted: list[str] = []

    def write_and_be_late(folder: Path, written: ModelCard) -> None:
        write_card(folder, written)
        wanted.append(written.version)
        if len(wanted) < 3:
            put(tmp_path, "tiny", written.version)

    files = new_files(repository)
    monkeypatch.setattr(repository_module, "write_card", write_and_be_late)
    assert repository.add(card(), files).card.version == "3"
    assert wanted == ["1", "2", "3"]
    assert versions(tmp_path) == ["tiny/1", "tiny/2", "tiny/3"]


def test_a_store_that_can_t_be_written_to_is_no_endless_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    files = new_files(repository)

    def rename(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PermissionError):
        repository.add(card(), files)


def test_a_reader_never_sees_a_version_without_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path)
    seen: list[list[str]] = []

    def write_and_look(folder: Path, written: ModelCard) -> None:
        seen.append([broken.version for broken in repository.scan().broken] + versions(tmp_path))
        write_card(folder, written)
        seen.append([broken.version for broken in repository.scan().broken] + versions(tmp_path))

    monkeypatch.setattr(repository_module, "write_card", write_and_look)
    repository.add(card(), new_files(repository))
    assert seen == [[], []]
    assert versions(tmp_path) == ["tiny/1"]


def test_other_labels_under_a_taken_name_are_refused_before_anything_moves(tmp_path: Path) -> None:
    put(tmp_path, "tiny", "1")
    repository = Repository(tmp_path)
    files = new_files(repository)
    with pytest.raises(UsageError, match=r"tiny names dark, bright; this data has bright, dark.* --name"):
        repository.add(card(labels=("bright", "dark")), files)
    assert versions(tmp_path) == ["tiny/1"]
    assert files.exists()
    repository.check_labels("tiny", ["dark", "bright"])
    repository.check_labels("other", ["anything", "else"])


def test_an_update_replaces_the_card_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "tiny", "1")
    repository = Repository(tmp_path)
    changed = card().model_copy(update={"input": InputSpec(height=64, width=64)})
    repository.update(changed)
    assert repository.get("tiny", "1").card == changed
    with pytest.raises(UnknownModel):
        repository.update(card(version="2"))


def test_delete_removes_one_version_and_with_the_last_the_name(tmp_path: Path) -> None:
    for version in ("1", "2"):
        put(tmp_path, "tiny", version)
    repository = Repository(tmp_path)
    repository.delete("tiny", "1")
    assert versions(tmp_path) == ["tiny/2"]
    repository.delete("tiny", "2")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_version_can_be_deleted(tmp_path: Path) -> None:
    spoil_card(put(tmp_path, "tiny", "1"))
    Repository(tmp_path).delete("tiny", "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "version"), [("tiny", "2"), ("other", "1"), ("..", "1"), ("tiny", ".."), ("tiny", "")])
def test_what_is_not_there_can_t_be_deleted(tmp_path: Path, name: str, version: str) -> None:
    put(tmp_path / "store", "tiny", "1")
    (tmp_path / "1").mkdir()
    with pytest.raises(UnknownModel):
        Repository(tmp_path / "store").delete(name, version)
    assert versions(tmp_path / "store") == ["tiny/1"]
    assert (tmp_path / "1").exists()


def test_deleting_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "tiny", "1")
    store = tmp_path / "store"
    (store / "tiny").mkdir(parents=True)
    (store / "tiny" / "1").symlink_to(outside, target_is_directory=True)
    Repository(store).delete("tiny", "1")
    assert not os.path.lexists(store / "tiny")
    assert (outside / CARD_FILE).exists()


def test_verify_finds_a_file_that_was_altered_or_lost(tmp_path: Path) -> None:
    stored = tiny_model(tmp_path)
    stored.verify()
    for file in stored.card.files:
        path = stored.folder / file.file
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(BrokenModel, match=rf"tiny/1/{file.file} is not the file that tiny's card describes"):
            stored.verify()
        path.unlink()
        with pytest.raises(BrokenModel, match=rf"tiny/1/{file.file} can't be read: No such file"):
            stored.verify()
        path.write_bytes(data)
    stored.verify()
    shutil.rmtree(stored.folder)
    with pytest.raises(BrokenModel):
        stored.verify()


def test_only_the_files_that_are_needed_must_be_there(tmp_path: Path) -> None:
    stored = tiny_model(tmp_path)
    (stored.folder / stored.card.golden.file).unlink()
    stored.verify(stored.card.variants)
    with pytest.raises(BrokenModel):
        stored.verify()


def extension(repository: Repository, *names: str) -> tuple[ModelCard, Path]:
    """New files for tiny/1, and a card that vouches for them: a variant, and golden vectors instead of those that are there."""
    files = repository.workspace()
    for name in names:
        (files / name).write_text(name)
    before = repository.get("tiny").card
    variant = Variant(precision="int8", **stored_file(files / names[0]).model_dump())
    golden = stored_file(files / names[1])
    return before.model_copy(update={"variants": [*before.variants, variant], "golden": golden}), files


def test_a_version_is_extended_by_new_files_and_its_card_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny_model(tmp_path)
    repository = Repository(tmp_path)
    after, files = extension(repository, "model.int8.onnx", "golden-2.npz")

    def write(folder: Path, card: ModelCard) -> None:
        before.verify()  # who has read the card before still finds what it vouches for
        assert read_card(folder) == before.card
        write_card(folder, card)
        repository.get("tiny").verify()

    monkeypatch.setattr(repository_module, "write_card", write)
    assert repository.extend(after, files).card == after
    repository.get("tiny").verify()
    assert sorted(path.name for path in before.folder.iterdir()) == sorted(
        ["CARD.md", CARD_FILE, *(file.file for file in after.files)]
    )


def test_a_file_that_was_served_is_never_replaced(tmp_path: Path) -> None:
    before = tiny_model(tmp_path)
    repository = Repository(tmp_path)
    after, files = extension(repository, "model.onnx", "golden-2.npz")
    with pytest.raises(UsageError, match=r"tiny/1 has model\.onnx already"):
        repository.extend(after, files)
    before.verify()
    assert repository.get("tiny").card == before.card


def test_what_an_extension_left_behind_that_never_ended_is_no_hindrance(tmp_path: Path) -> None:
    (tiny_model(tmp_path).folder / "model.int8.onnx").write_text("half a file")
    repository = Repository(tmp_path)
    repository.extend(*extension(repository, "model.int8.onnx", "golden-2.npz"))
    repository.get("tiny").verify()

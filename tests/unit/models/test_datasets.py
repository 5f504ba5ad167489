"""Class folders in zips and folders: what is found, what is refused, and that crafted zips do no harm."""

import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from models import datasets
from models.datasets import Dataset, batches, open_dataset
from models.errors import DatasetError
from models.imaging import Limits
from models.metadata import file_sha256
from tests.support.images import write_folder, write_zip

SCENES = {"sea/2.jpg": b"two", "sea/10.JPEG": b"ten", "forest/a.png": b"a"}

Write = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(params=[write_zip, write_folder], ids=["zip", "folder"])
def write(request: pytest.FixtureRequest) -> Write:
    chosen: Write = request.param
    return chosen


def contents(dataset: Dataset) -> dict[str, bytes]:
    return {image.path: image.data for image in dataset}


def test_class_folders_are_read_in_the_order_of_their_paths(write: Write, tmp_path: Path) -> None:
    with open_dataset(str(write(tmp_path / "scenes", SCENES))) as dataset:
        assert dataset.labels == ["forest", "sea"]
        assert len(dataset) == 3
        assert [(image.path, image.label, image.data) for image in dataset] == [
            ("forest/a.png", "forest", b"a"),
            ("sea/10.JPEG", "sea", b"ten"),
            ("sea/2.jpg", "sea", b"two"),
        ]


@pytest.mark.parametrize("wrapper", ["scenes", "scenes/seg_train/seg_train"])
def test_folders_around_the_class_folders_don_t_matter(write: Write, tmp_path: Path, wrapper: str) -> None:
    source = write(tmp_path / "scenes", {f"{wrapper}/{name}": data for name, data in SCENES.items()})
    with open_dataset(str(source)) as dataset:
        assert contents(dataset) == SCENES


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".JPG", ".Png"])
def test_every_suffix_of_an_image_counts(write: Write, tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / "scenes", {f"sea/1{suffix}": b"1", "sea/readme.txt": b"", "labels.csv": b""})
    with open_dataset(str(source)) as dataset:
        assert contents(dataset) == {f"sea/1{suffix}": b"1"}


@pytest.mark.parametrize(
    "litter",
    ["__MACOSX/scenes/sea/._2.jpg", "scenes/sea/._2.jpg", "scenes/.thumbnails/2.jpg", ".DS_Store", "scenes/sea/.DS_Store"],
)
def test_litter_is_ignored(write: Write, tmp_path: Path, litter: str) -> None:
    files = {f"scenes/{name}": data for name, data in SCENES.items()} | {litter: b"litter"}
    with open_dataset(str(write(tmp_path / "scenes", files))) as dataset:
        assert contents(dataset) == SCENES


SPLITS = {"archive/train/sea/1.jpg": b"train", "archive/test/sea/1.jpg": b"test"}


def test_several_splits_are_refused_until_one_is_named(write: Write, tmp_path: Path) -> None:
    source = write(tmp_path / "scenes", SPLITS)
    with pytest.raises(DatasetError, match=r"several sets \(archive/test, archive/train\): name one, as in scenes#test"):
        open_dataset(str(source))


@pytest.mark.parametrize("split", ["train", "test", "archive/train", "archive/test"])
def test_a_split_is_named_by_a_folder_or_by_its_path(write: Write, tmp_path: Path, split: str) -> None:
    with open_dataset(f"{write(tmp_path / 'scenes', SPLITS)}#{split}") as dataset:
        assert contents(dataset) == {"sea/1.jpg": split.rpartition("/")[2].encode()}


@pytest.mark.parametrize(
    ("split", "said"),
    [("val", "has no split 'val'; it holds: archive/test, archive/train"), ("archive", "has more than one split 'archive'")],
)
def test_a_split_that_names_none_or_several_is_refused(write: Write, tmp_path: Path, split: str, said: str) -> None:
    source = write(tmp_path / "scenes", SPLITS)
    with pytest.raises(DatasetError, match=said):
        open_dataset(f"{source}#{split}")


def test_splits_at_the_root_and_below_are_told_apart(write: Write, tmp_path: Path) -> None:
    source = write(tmp_path / "scenes", {"sea/1.jpg": b"root", "extra/sea/1.jpg": b"extra"})
    with pytest.raises(DatasetError, match="several sets"):
        open_dataset(str(source))
    for split, expected in (("extra", b"extra"), (".", b"root")):
        with open_dataset(f"{source}#{split}") as dataset:
            assert contents(dataset) == {"sea/1.jpg": expected}


def test_images_in_no_class_folder_are_refused_by_name(write: Write, tmp_path: Path) -> None:
    source = write(tmp_path / "scenes", {**SCENES, "stray.jpg": b""})
    with pytest.raises(DatasetError, match=r"stray\.jpg stands in no class folder; expected CLASS/IMAGE"):
        open_dataset(str(source))


@pytest.mark.parametrize("files", [{}, {"sea/readme.txt": b""}, {"__MACOSX/sea/1.jpg": b""}], ids=["empty", "text", "litter"])
def test_a_source_without_images_is_refused(write: Write, tmp_path: Path, files: Mapping[str, bytes]) -> None:
    source = write(tmp_path / "scenes", files)
    with pytest.raises(DatasetError, match="holds no image"):
        open_dataset(str(source))


@pytest.mark.parametrize("name", ["nowhere", "nowhere#split", "nowhere.zip"])
def test_a_path_to_nothing_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither a zip file nor a folder"):
        open_dataset(str(tmp_path / name))


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "scenes", SCENES)
    with open_dataset("~/scenes") as dataset:
        assert contents(dataset) == SCENES


def test_facts_hold_the_last_name_and_never_a_path(write: Write, tmp_path: Path) -> None:
    with open_dataset(str(write(tmp_path / "scenes", SCENES))) as dataset:
        facts = dataset.facts()
    assert (facts.name, facts.images) == ("scenes", 3)


def test_a_folder_named_by_a_dot_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_folder(tmp_path / "scenes", SCENES))
    with open_dataset(".") as dataset:
        assert dataset.facts().name == "scenes"


def test_the_digest_of_a_zip_is_that_of_its_file(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "scenes.zip", SCENES)
    with open_dataset(str(path)) as dataset:
        assert dataset.sha256() == file_sha256(path)


def folder_digest(root: Path, files: Mapping[str, bytes]) -> str:
    with open_dataset(str(write_folder(root, files))) as dataset:
        return dataset.sha256()


def test_the_digest_of_a_folder_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    digest = folder_digest(tmp_path / "a", SCENES)
    assert folder_digest(tmp_path / "b", dict(reversed(SCENES.items())) | {"sea/.DS_Store": b"litter"}) == digest
    assert folder_digest(tmp_path / "c", {**SCENES, "sea/2.jpg": b"2"}) != digest
    assert folder_digest(tmp_path / "d", {name.replace("a.png", "b.png"): data for name, data in SCENES.items()}) != digest
    assert folder_digest(tmp_path / "e", {name: data for name, data in SCENES.items() if name != "sea/2.jpg"}) != digest


def test_the_digest_of_a_folder_never_changes_between_releases(tmp_path: Path) -> None:
    expected = "1f1e08fb40257fc15542a96bb20b5bc7adafa46396ba91c112135d44e9985607"
    assert folder_digest(tmp_path / "a", SCENES) == expected


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scenes.zip"
    path.write_bytes(b"PK\3\4 but no more")
    with pytest.raises(DatasetError, match="is not a zip file that can be read"):
        open_dataset(str(path))


def test_a_zip_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "scenes.zip", SCENES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match="is not a zip file that can be read"):
        open_dataset(str(path))


def patched(path: Path, name: str, old: bytes, new: bytes) -> Path:
    """Change bytes behind the local header of a member."""
    data = path.read_bytes()
    at = data.index(old, data.index(name.encode()))
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    return path


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    path = patched(write_zip(tmp_path / "scenes.zip", SCENES), "sea/2.jpg", b"two", b"tow")
    with (
        open_dataset(str(path)) as dataset,
        pytest.raises(DatasetError, match=r"scenes\.zip: sea/2\.jpg can't be read: Bad CRC-32"),
    ):
        list(dataset)


def test_a_member_whose_compressed_data_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scenes.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sea/1.jpg", b"sea" * 1000)
    data = bytearray(path.read_bytes())
    start = 30 + len("sea/1.jpg")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with open_dataset(str(path)) as dataset, pytest.raises(DatasetError, match=r"sea/1\.jpg can't be read"):
        list(dataset)


def marked(path: Path, *, flags: int | None = None, method: int | None = None, size: int | None = None) -> Path:
    """Set fields of the first entry of a zip's directory and of its local header."""
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        entry = data.index(signature)
        if flags is not None:
            struct.pack_into("<H", data, entry + at, flags)
        if method is not None:
            struct.pack_into("<H", data, entry + at + 2, method)
        if size is not None:
            struct.pack_into("<I", data, entry + at + 16, size)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("flags", "method", "said"), [(None, 99, "compression method"), (0x20, None, "patched")])
def test_a_member_that_is_exotic_is_named(tmp_path: Path, flags: int | None, method: int | None, said: str) -> None:
    path = marked(write_zip(tmp_path / "scenes.zip", {"sea/1.jpg": b"data"}), flags=flags, method=method)
    with open_dataset(str(path)) as dataset, pytest.raises(DatasetError, match=rf"sea/1\.jpg can't be read: .*{said}"):
        list(dataset)


def test_an_oversized_image_is_refused(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "LIMITS", Limits(max_bytes=10))
    source = write(tmp_path / "scenes", {"sea/1.jpg": bytes(10), "sea/2.jpg": bytes(11)})
    with open_dataset(str(source)) as dataset:
        images = iter(dataset)
        assert next(images).data == bytes(10)
        with pytest.raises(DatasetError, match=r"sea/2\.jpg has more than 10 bytes"):
            next(images)


def test_an_oversized_member_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scenes.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sea/1.jpg", bytes(datasets.LIMITS.max_bytes + 1))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with open_dataset(str(path)) as dataset, pytest.raises(DatasetError, match=r"more than 64,000,000 bytes"):
        list(dataset)


def test_a_member_that_is_larger_than_it_says_is_not_unpacked_beyond_that(tmp_path: Path) -> None:
    path = tmp_path / "scenes.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sea/1.jpg", bytes(1_000_000))
    with open_dataset(str(marked(path, size=100))) as dataset, pytest.raises(DatasetError, match=r"sea/1\.jpg can't be read"):
        list(dataset)


@pytest.mark.parametrize(
    "name", ["../../sea/1.jpg", "/../sea/1.jpg", "sea/../../evil/1.jpg", "/sea/1.jpg", "C:\\scenes/sea/1.jpg"]
)
def test_a_zip_with_a_name_that_leads_out_of_it_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "inner" / "scenes.zip", {name: b"evil", "sea/1.jpg": b"good"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="which leads out of it"):
        open_dataset(str(path))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["sea//1.jpg", "./sea/1.jpg", "sea/./1.jpg"])
def test_a_name_that_is_not_written_plainly_is_read_all_the_same(tmp_path: Path, name: str) -> None:
    with open_dataset(str(write_zip(tmp_path / "scenes.zip", {name: b"1"}))) as dataset:
        assert contents(dataset) == {"sea/1.jpg": b"1"}


def test_a_folder_entry_named_like_an_image_is_no_image(write: Write, tmp_path: Path) -> None:
    source = write(tmp_path / "scenes", {"sea/1.jpg": b"1", "sea.jpg/readme.txt": b""})
    with open_dataset(str(source)) as dataset:
        assert len(dataset) == 1


def test_an_image_that_vanished_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "scenes", SCENES)
    with open_dataset(str(root)) as dataset:
        (root / "sea/2.jpg").unlink()
        with pytest.raises(DatasetError, match=r"sea/2\.jpg can't be read"):
            list(dataset)


def test_a_refused_zip_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str | None] = []
    close = zipfile.ZipFile.close

    def close_and_tell(archive: zipfile.ZipFile) -> None:
        closed.append(archive.filename)
        close(archive)

    monkeypatch.setattr(zipfile.ZipFile, "close", close_and_tell)
    path = tmp_path / "scenes.zip"
    path.write_bytes(b"PK\5\6" + bytes(18))
    with pytest.raises(DatasetError, match="holds no image") as raised:
        open_dataset(str(path))
    assert closed == [str(path)]
    assert raised.tb is not None  # it holds the zip: nothing was closed by being forgotten


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (3, [3]), (4, [3, 1]), (6, [3, 3])])
def test_batches_keep_order_and_lose_nothing(write: Write, tmp_path: Path, count: int, sizes: list[int]) -> None:
    source = write(tmp_path / "scenes", {f"sea/{number}.jpg": b"" for number in range(1, max(count, 1) + 1)})
    with open_dataset(str(source)) as dataset:
        images = list(dataset)[:count]
    groups = list(batches(iter(images), 3))
    assert [len(group) for group in groups] == sizes
    assert [image for group in groups for image in group] == images


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({**SCENES, "sea/./2.jpg": b"again"}, r"holds 'sea/2\.jpg' more than once"),
        ({**SCENES, "sea/inner.zip": b"zip"}, r"holds another zip, 'sea/inner\.zip'"),
    ],
)
def test_a_zip_that_nobody_should_trust_is_refused_as_a_whole(tmp_path: Path, files: Mapping[str, bytes], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        open_dataset(str(write_zip(tmp_path / "scenes.zip", files)))


def test_a_zip_with_a_secret_is_refused_as_a_whole(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'sea/1\.jpg' is encrypted"):
        open_dataset(str(marked(write_zip(tmp_path / "scenes.zip", {"sea/1.jpg": b"data"}), flags=1)))


def test_a_zip_of_more_files_than_may_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "MAX_FILES", 2)
    with pytest.raises(DatasetError, match="holds 3 files, more than 2"):
        open_dataset(str(write_zip(tmp_path / "scenes.zip", SCENES)))

"""What sets may look like, and what is refused of those that others made."""

import io
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import RedirectResponse, Response

from models.errors import DatasetError, ImageTooLarge, UnreadableImage
from service.errors import UnknownDataset
from service.scoring import sources
from service.scoring.addresses import check_address, check_clients, fetch, local_path
from service.scoring.annotations import AnnotationSource
from service.scoring.jobs import Task, packed, unpacked
from service.scoring.sources import FolderSource, ZipSource
from tests.support.custom_vision.server import serving
from tests.support.images import write_folder, write_zip
from tests.support.zips import listing

GOOD = {"sea/1.jpg": b"one", "sea/2.jpg": b"two", "street/1.png": b"three"}
TASKS = [Task("sea/1.jpg", "sea"), Task("sea/2.jpg", "sea"), Task("street/1.png", "street")]


def under(prefix: str, files: Mapping[str, bytes] = GOOD) -> dict[str, bytes]:
    return {f"{prefix}{name}": data for name, data in files.items()}


@pytest.mark.parametrize("prefix", ["", "seg_test/", "archive/seg_test/"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_class_folders_stand_at_the_top_or_in_a_wrapper(tmp_path: Path, prefix: str, kind: str) -> None:
    files = under(prefix) | {f"{prefix}.DS_Store": b"", f"{prefix}notes.txt": b"", f"__MACOSX/{prefix}sea/._1.jpg": b""}
    folder, path = tmp_path / "set", tmp_path / "set.zip"
    source = FolderSource(write_folder(folder, files)) if kind == "folder" else ZipSource(write_zip(path, files))
    assert source.tasks() == TASKS
    assert source.read("sea/2.jpg", 10) == b"two"
    again = FolderSource(folder, prefix=prefix) if kind == "folder" else ZipSource(path, prefix=prefix)
    assert again.read("street/1.png", 10) == b"three", "who goes on with a job lists nothing"
    for one in (source, again):
        one.close()


def test_of_several_splits_one_is_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "all.zip", under("seg_train/") | under("seg_test/"))
    with pytest.raises(DatasetError, match=r"several sets \(seg_test, seg_train\).*all.zip#seg_test"):
        ZipSource(path).tasks()
    assert ZipSource(path, "seg_test").tasks() == TASKS
    with pytest.raises(DatasetError, match="no split 'seg_pred'; it holds: seg_test, seg_train"):
        ZipSource(path, "seg_pred").tasks()


def test_images_in_no_folder_have_no_label(tmp_path: Path) -> None:
    assert ZipSource(write_zip(tmp_path / "x.zip", {"1.jpg": b"", "2.jpg": b""})).tasks() == [
        Task("1.jpg", None),
        Task("2.jpg", None),
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no image"),
        ({"readme.txt": b""}, "holds no image"),
        (GOOD | {"3.jpg": b""}, "3.jpg stands in no class folder"),
        (GOOD | {"../../etc/1.jpg": b""}, "which leads out of it"),
        (GOOD | {"/etc/1.jpg": b""}, "which leads out of it"),
        (GOOD | {"C:/1.jpg": b""}, "which leads out of it"),
        (GOOD | {"sea\\..\\..\\1.jpg": b""}, "which leads out of it"),
        (GOOD | {"sea/.//1.jpg": b""}, r"holds 'sea/1\.jpg' more than once"),
        (GOOD | {"sea/inner.zip": b""}, "holds another zip, 'sea/inner.zip'"),
        (GOOD | {"sea/\x1b[2J.jpg": b""}, r"unprintable characters"),
        (GOOD | {f"sea/{'x' * 1100}.jpg": b""}, "more than 1024"),
    ],
)
def test_a_zip_that_nobody_should_trust_is_refused(tmp_path: Path, files: Mapping[str, bytes], said: str) -> None:
    with pytest.raises(DatasetError, match=said) as refused:
        ZipSource(write_zip(tmp_path / "x.zip", files)).tasks()
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


def test_duplicates_links_and_secrets_in_a_zip_are_refused(tmp_path: Path) -> None:
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("sea/1.jpg", b"one")
        archive.writestr("sea/1.jpg", b"other")
    with pytest.raises(DatasetError, match=r"'sea/1\.jpg' more than once"):
        ZipSource(twice).tasks()
    link = tmp_path / "link.zip"
    with zipfile.ZipFile(link, "w") as archive:
        info = zipfile.ZipInfo("sea/1.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DatasetError, match="is a link"):
        ZipSource(link).tasks()
    secret = write_zip(tmp_path / "secret.zip", GOOD)
    data = bytearray(secret.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    secret.write_bytes(data)
    with pytest.raises(DatasetError, match="is encrypted"):
        ZipSource(secret).tasks()


def test_a_zip_of_too_many_files_is_refused_before_its_list_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "x.zip", {f"sea/{number}.jpg": b"" for number in range(30)})
    monkeypatch.setattr(sources, "MAX_ENTRIES", 20)
    with pytest.raises(DatasetError, match="more than 20"):
        ZipSource(path).tasks()
    monkeypatch.setattr(sources, "MAX_ENTRIES", 5)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(DatasetError, match="lists more files"):
        ZipSource(path)


def test_a_long_list_is_seen_though_its_length_alone_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = listing(30)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, listed.index(b"PK\6\6"), 0, 0)
    (tmp_path / "x.zip").write_bytes(listed[: listed.index(b"PK\6\6")] + end)
    assert len(ZipSource(tmp_path / "x.zip").tasks()) == 30, "zipfile reads it"
    monkeypatch.setattr(sources, "MAX_ENTRIES", 5)
    with pytest.raises(DatasetError, match="lists more files"):
        ZipSource(tmp_path / "x.zip")


@pytest.mark.parametrize("count", [100_000, 100_001, 200_001])
def test_a_hundred_thousand_files_are_the_most(tmp_path: Path, count: int) -> None:
    """So many names, all of one file that is not there, as who wants to fill our memory would write them."""
    (tmp_path / "many.zip").write_bytes(listing(count))
    if count <= 100_000:
        assert len(ZipSource(tmp_path / "many.zip").tasks()) == count
        return
    with pytest.raises(DatasetError, match=r"holds 100,001 files, more than 100,000|lists more files than the 100,000"):
        ZipSource(tmp_path / "many.zip").tasks()


def test_a_zip_that_would_fill_a_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bomb.zip").write_bytes(listing(30, size=0xFFFF_FFF0))
    with pytest.raises(DatasetError, match=r"would have 128,849,018,400 bytes unpacked"):
        ZipSource(tmp_path / "bomb.zip").tasks()


def test_names_that_are_written_in_an_odd_way_are_found(tmp_path: Path) -> None:
    source = ZipSource(write_zip(tmp_path / "x.zip", {"./sea/1.jpg": b"one", "street//1.png": b"three"}))
    assert source.tasks() == [TASKS[0], TASKS[2]]
    assert [source.read(task.image, 10) for task in source.tasks()] == [b"one", b"three"]


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_torn_is_its_own_error_however_it_is_packed(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", kind) as archive:
        archive.writestr("sea/1.jpg", bytes(range(256)) * 40)
    data = bytearray((tmp_path / "x.zip").read_bytes())
    start = data.index(b"sea/1.jpg") + len(b"sea/1.jpg")
    data[start + 9 : start + 40] = b"\xff" * 31
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UnreadableImage, match=r"sea/1\.jpg can't be read"):
        ZipSource(tmp_path / "x.zip").read("sea/1.jpg", 100_000)


class Cut(io.BytesIO):
    """A zip whose storage fails from some moment on, with an error that only its client knows."""

    cut = False

    def read(self, size: int | None = -1) -> bytes:
        if self.cut:
            raise LookupError("the storage has gone")
        return super().read(size)


def test_a_storage_that_fails_is_that_images_error(tmp_path: Path) -> None:
    there = Cut(write_zip(tmp_path / "x.zip", GOOD).read_bytes())
    source = ZipSource(there, name="x.zip")
    (first, *_) = source.tasks()
    there.cut = True
    with pytest.raises(UnreadableImage, match="the storage has gone"):
        source.read(first.image, 100)
    there.cut = False
    assert source.read(first.image, 100)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x05\x06" + bytes(3)], ids=["empty", "text", "half"])
def test_what_is_no_zip_says_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DatasetError, match=r"x\.zip is not a zip file"):
        ZipSource(tmp_path / "x.zip")


def test_a_damaged_or_lying_member_is_its_own_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"sea/1.jpg": b"one" * 100, "sea/2.jpg": b"two"})
    data = bytearray(path.read_bytes())
    data[data.index(b"oneone")] ^= 1
    path.write_bytes(data)
    source = ZipSource(path)
    assert len(source.tasks()) == 2
    with pytest.raises(UnreadableImage, match=r"sea/1\.jpg can't be read: Bad CRC"):
        source.read("sea/1.jpg", 1000)
    with pytest.raises(ImageTooLarge):
        source.read("sea/1.jpg", 100)
    with pytest.raises(UnreadableImage, match="not in the zip any more"):
        source.read("sea/3.jpg", 100)
    lying = path.read_bytes().replace(struct.pack("<I", 300), struct.pack("<I", 3))
    (tmp_path / "lying.zip").write_bytes(lying)
    with pytest.raises((UnreadableImage, ImageTooLarge)):
        ZipSource(tmp_path / "lying.zip").read("sea/1.jpg", 100)


def test_a_member_at_an_offset_that_no_file_has_is_its_own_error(tmp_path: Path) -> None:
    source = ZipSource(write_zip(tmp_path / "x.zip", {"sea/1.jpg": b"one"}))
    source._members["sea/1.jpg"].header_offset = 2**63
    with pytest.raises(UnreadableImage, match=r"sea/1\.jpg can't be read"):
        source.read("sea/1.jpg", 100)


def test_links_in_a_folder_lead_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    root = write_folder(tmp_path / "set", GOOD)
    (root / "sea" / "3.jpg").symlink_to(tmp_path / "secret.jpg")
    source = FolderSource(root)
    with pytest.raises(UnreadableImage, match="a link to a place outside"):
        source.read("sea/3.jpg", 100)
    with pytest.raises(UnreadableImage):
        source.read("../secret.jpg", 100)
    (root / "sea" / "1.jpg").unlink()
    with pytest.raises(UnreadableImage, match="can't be read: No such file"):
        source.read("sea/1.jpg", 100)


ALLOWED = ["https://example.org/images/", "s3://photos"]


@pytest.mark.parametrize("address", ["https://example.org/images/sea/1.jpg", "s3://photos/1.jpg", "s3://photos"])
def test_addresses_that_begin_with_an_entry_may_be_read(address: str) -> None:
    check_address(address, ALLOWED)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/other/1.jpg",
        "http://example.org/images/1.jpg",
        "https://example.org/images/../other/1.jpg",
        "https://example.org/images/%2e%2e/other/1.jpg",
        "https://example.org/images/%252e%252e/other/1.jpg",
        "https://example.org@evil.example/images/1.jpg",
        "s3://photos-of-others/1.jpg",
        "simplecache::https://example.org/images/1.jpg",
        "https://example.org/images/::file:///etc/passwd",
        "file:///etc/passwd",
        "local:///etc/passwd",
        "memory://x",
        "https://example.org/images/\n1.jpg",
    ],
)
def test_others_may_not(address: str) -> None:
    with pytest.raises(UnknownDataset):
        check_address(address, [*ALLOWED, "file://", "memory://"])


def test_names_lead_into_the_folder_of_sets_only(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "sets", under("set/"))
    (root / "out").symlink_to(tmp_path)
    assert local_path(root, "set") == (root / "set").resolve()
    for name in ("", ".", "..", "../sets/../x", "out", str(tmp_path), "nowhere", "a\0b", "x" * 5000):
        with pytest.raises(UnknownDataset):
            local_path(root, name)


def annotated(root: Path | None, *lines: str) -> AnnotationSource:
    return AnnotationSource("x.jsonl", "\n".join(lines).encode(), root, ALLOWED)


def test_annotations_name_images_and_labels(tmp_path: Path) -> None:
    source = annotated(write_folder(tmp_path / "sets", GOOD), '{"image_url": "sea/1.jpg", "label": "sea", "more": 1}', "")
    assert source.tasks() == [Task("sea/1.jpg", "sea")]
    assert source.read("sea/1.jpg", 10) == b"one"
    with pytest.raises(UnreadableImage):
        source.read("../x.jpg", 10)
    assert annotated(None, '{"image_url": "s3://photos/1.jpg"}').tasks() == [Task("s3://photos/1.jpg", None)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no line like"),
        (["{"], "line 1 is no JSON"),
        (["[]"], "line 1 has no `image_url`"),
        (['{"image_url": "../x.jpg"}'], "line 1.*no path inside"),
        (['{"image_url": "/etc/x.jpg"}'], "line 1.*no path inside"),
        (['{"image_url": "http://10.0.0.1/x.jpg"}'], "line 1.*PARALLAX_DATASETS_ALLOW"),
        (['{"image_url": "sea/1.jpg", "label": 3}'], "`label` is no word"),
        (['{"image_url": "sea/1.jpg", "label": "sea"}'] * 2, "line 2.*twice"),
        (['{"image_url": "sea/1.jpg", "label": "sea"}', '{"image_url": "sea/2.jpg"}'], "labels on some lines"),
    ],
)
def test_annotations_that_can_t_be_used_say_where(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        annotated(tmp_path, *lines).tasks()


def test_tasks_come_out_of_the_database_as_they_went_in() -> None:
    assert unpacked(packed(TASKS)) == TASKS


@pytest.mark.parametrize("decoy", [False, True])
def test_a_long_list_of_files_is_seen_whatever_the_short_form_says(tmp_path: Path, decoy: bool) -> None:
    """zipfile reads the long form where there is one, from before its locator, whatever the short form and the offset say."""
    path = tmp_path / "crafted.zip"
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, 10**9, 0)
    small = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 50, 0)
    start = small if decoy else b""
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0 if decoy else len(start), 1)
    path.write_bytes(start + end64 + locator + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, 50, 0, 0))
    with pytest.raises(DatasetError, match="lists more files"):
        ZipSource(path)


class Site:
    """An HTTP server with one picture."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        there = scope["path"] == "/a.png"
        other = RedirectResponse("/a.png") if scope["path"] == "/moved" else Response(status_code=404)
        reply = Response(b"picture") if there else other
        await reply(scope, receive, send)


def test_an_address_is_read_and_not_followed() -> None:
    with serving(Site()) as address:
        assert fetch(f"{address}/a.png", 100) == b"picture"
        with pytest.raises(ImageTooLarge):
            fetch(f"{address}/a.png", 3)
        for path in ("gone", "moved"):
            with pytest.raises(UnreadableImage, match="HTTPError"):
                fetch(f"{address}/{path}", 100)


def test_a_storage_whose_client_is_not_installed_says_so() -> None:
    with pytest.raises(UnknownDataset, match="nosuch://"):
        check_clients(["https://example.org/1.jpg", "nosuch://bucket/1.jpg"])

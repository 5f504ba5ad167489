"""A file of a zip that is packed as it is comes by one call, and whatever is odd about it is zipfile's to judge."""

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.archives import LOCAL_NAMES, plain_member
from tests.support.images import write_zip

CONTENT = {"sea/1.jpg": bytes(range(256)) * 40, "küste/2.jpg": b"two", "sea/3.jpg": b""}


def packed(path: Path, kind: int = zipfile.ZIP_STORED, before: bytes = b"") -> zipfile.ZipFile:
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a" if before else "w", kind) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    return zipfile.ZipFile(path)


def gone(path: Path, name: str) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        return plain_member(archive, archive.getinfo(name))


@pytest.mark.parametrize("before", [b"", b"something that stands in front of the zip"])
def test_a_file_that_is_packed_as_it_is_comes_as_zipfile_gives_it(tmp_path: Path, before: bytes) -> None:
    with packed(tmp_path / "x.zip", before=before) as archive:
        assert {info.filename: plain_member(archive, info) for info in archive.infolist()} == CONTENT


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_otherwise_is_left_to_zipfile(tmp_path: Path, kind: int) -> None:
    with packed(tmp_path / "x.zip", kind) as archive:
        assert plain_member(archive, archive.getinfo("sea/1.jpg")) is None


def test_what_is_no_file_of_this_machine_is_left_to_zipfile(tmp_path: Path) -> None:
    packed(tmp_path / "x.zip").close()
    with zipfile.ZipFile(io.BytesIO((tmp_path / "x.zip").read_bytes())) as archive:
        assert plain_member(archive, archive.getinfo("sea/1.jpg")) is None


def test_a_closed_zip_gives_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path / "x.zip")
    archive.close()
    assert plain_member(archive, archive.getinfo("sea/1.jpg")) is None


@given(place=st.integers(0, 299))
def test_a_file_with_any_of_its_bytes_changed_is_left_to_zipfile(tmp_path_factory: pytest.TempPathFactory, place: int) -> None:
    path = write_zip(tmp_path_factory.mktemp("zips") / "x.zip", {"sea/1.jpg": b"\x01" * 300})
    data = bytearray(path.read_bytes())
    data[data.index(b"\x01" * 300) + place] ^= 1
    path.write_bytes(data)
    assert gone(path, "sea/1.jpg") is None


def test_a_header_that_leads_elsewhere_is_left_to_zipfile(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"sea/1.jpg": b"one" * 100})
    whole = path.read_bytes()
    for broken in (b"XX" + whole[2:], whole[:26] + struct.pack("<H", 400) + whole[28:]):
        path.write_bytes(broken)
        assert gone(path, "sea/1.jpg") is None


def test_a_zip_that_was_cut_meanwhile_gives_nothing(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"sea/1.jpg": b"one" * 100})
    with zipfile.ZipFile(path) as archive:
        path.write_bytes(path.read_bytes()[:200])
        assert plain_member(archive, archive.getinfo("sea/1.jpg")) is None
        path.write_bytes(b"PK")
        assert plain_member(archive, archive.getinfo("sea/1.jpg")) is None


@pytest.mark.parametrize("flags", [1, 0x20, 0x40], ids=["encrypted", "patched", "strongly encrypted"])
def test_what_its_flags_make_odd_is_left_to_zipfile(tmp_path: Path, flags: int) -> None:
    with packed(tmp_path / "x.zip") as archive:
        info = archive.getinfo("sea/1.jpg")
        info.flag_bits |= flags
        assert plain_member(archive, info) is None


def test_a_file_of_another_name_than_the_list_says_is_left_to_zipfile(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"sea/1.jpg": b"one" * 100})
    path.write_bytes(path.read_bytes().replace(b"sea/1.jpg", b"sea/2.jpg", 1))
    assert gone(path, "sea/1.jpg") is None


def test_files_that_overlap_are_left_to_zipfile_where_it_sees_that(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"sea/2.jpg": b"two"})
    with zipfile.ZipFile(inner) as archive:
        within = archive.getinfo("sea/2.jpg")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("sea/1.jpg", inner.read_bytes())
        within.header_offset = archive.fp.tell() - inner.stat().st_size  # type: ignore[union-attr]
        archive.filelist.append(within)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert plain_member(archive, archive.getinfo("sea/2.jpg")) == b"two"
        outer = archive.getinfo("sea/1.jpg")
        try:
            seen = archive.read(outer)
        except zipfile.BadZipFile:
            assert plain_member(archive, outer) is None
        else:
            assert plain_member(archive, outer) == seen


def test_an_offset_that_no_file_has_is_left_to_zipfile(tmp_path: Path) -> None:
    with packed(tmp_path / "x.zip") as archive:
        info = archive.getinfo("sea/1.jpg")
        info.header_offset = 2**63
        assert plain_member(archive, info) is None


@pytest.mark.parametrize(("spare", "comes"), [(LOCAL_NAMES - 20, True), (LOCAL_NAMES + 20, False)])
def test_a_header_that_is_longer_than_most_is_left_to_zipfile(tmp_path: Path, spare: int, comes: bool) -> None:
    info = zipfile.ZipInfo("sea/1.jpg")
    info.extra = struct.pack("<HH", 0xCAFE, spare - 4) + bytes(spare - 4)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, b"one" * 100)
    assert gone(tmp_path / "x.zip", "sea/1.jpg") == (b"one" * 100 if comes else None)

"""Sets that many pictures are asked of are opened once."""

import os
from pathlib import Path
from typing import Any

import pytest

from models.errors import ParallaxError
from service.errors import UnknownDataset
from service.scoring.library import Library
from service.scoring.shelf import MOST, Shelf
from service.scoring.sources import Source
from service.settings import Settings
from tests.support.images import labelled, write_zip
from tests.unit.service.scoring.desks import office

FILES = {"sea/1.jpg": b"one", "street/1.jpg": b"two"}


class Counted(Library):
    """It remembers the sources that it opened, and they that they were closed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.opened: list[Source] = []
        self.closed: list[Source] = []

    def reopen(self, dataset: dict[str, Any]) -> Source:
        source = super().reopen(dataset)
        close = source.close
        source.close = lambda: (self.closed.append(source), close())[1]  # type: ignore[method-assign, func-returns-value]
        self.opened.append(source)
        return source


@pytest.fixture
def library(tmp_path: Path) -> Counted:
    for name in "abcd":
        write_zip(tmp_path / f"{name}.zip", FILES)
    return Counted(Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path))


def one(shelf: Shelf, name: str) -> bytes:
    with shelf.borrowed({"name": f"{name}.zip", "prefix": ""}) as source:
        return source.read("sea/1.jpg", 10)


def test_a_set_stays_open_until_others_were_asked_for(library: Counted) -> None:
    shelf = Shelf(library)
    for name in "aaab" * 20:
        assert one(shelf, name) == b"one"
    assert (len(library.opened), library.closed) == (2, [])
    one(shelf, "c")
    assert library.closed == library.opened[:1], "a was used before b"
    one(shelf, "b")
    assert len(library.opened) == 3
    shelf.close()
    assert sorted(map(id, library.closed)) == sorted(map(id, library.opened))


def test_none_is_closed_while_it_is_read(library: Counted) -> None:
    shelf = Shelf(library)
    with shelf.borrowed({"name": "a.zip", "prefix": ""}) as source:
        for name in "bcd":
            one(shelf, name)
        assert source not in library.closed
        assert source.read("street/1.jpg", 10) == b"two"
    assert len(library.opened) - len(library.closed) == MOST
    shelf.close()


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "written over"])
def test_a_file_that_was_exchanged_is_opened_anew(library: Counted, tmp_path: Path, replaced: bool) -> None:
    shelf = Shelf(library)
    one(shelf, "a")
    other = write_zip(tmp_path / "other.zip", {"sea/1.jpg": b"1"})
    if replaced:
        other.replace(tmp_path / "a.zip")
    else:
        (tmp_path / "a.zip").write_bytes(other.read_bytes())
        os.utime(tmp_path / "a.zip", ns=(1, 1))
    assert one(shelf, "a") == b"1"
    shelf.close()


def test_a_set_that_is_gone_is_said_to_be(library: Counted, tmp_path: Path) -> None:
    shelf = Shelf(library)
    one(shelf, "a")
    (tmp_path / "a.zip").unlink()
    with pytest.raises(UnknownDataset):
        one(shelf, "a")
    (tmp_path / "b.zip").write_bytes(b"no zip any more")
    with pytest.raises(ParallaxError):
        one(shelf, "b")
    shelf.close()


async def test_a_report_and_all_its_pictures_open_an_upload_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "store")
    images = labelled({"a": 9, "b": 9})
    monkeypatch.setattr("service.scoring.desk.Library", Counted)
    async with office(settings) as here:
        upload = await here.desk.receive()
        upload.write(write_zip(tmp_path / "x.zip", {f"wrapped/{name}": data for name, data in images.items()}).read_bytes())
        job = await here.ended(await here.hand_in(dataset=await here.desk.keep(upload)))
        library = here.desk.library
        assert isinstance(library, Counted)
        before = len(library.opened)
        for image in images:
            assert (await here.desk.picture(job, image))[:2] == b"\xff\xd8"
        assert "<html" in await here.desk.report(job)
        assert len(library.opened) == before + 1
    assert len(library.closed) == len(library.opened)

"""A set on its way to a server."""

import io
import zipfile
from pathlib import Path

import pytest

from models.errors import SeveralSets, UnreadableImage, UsageError
from service.api.form import StreamedForm
from service.score.upload import Form, packed
from tests.support.images import labelled, write_folder, write_zip

IMAGES = labelled({"dark": 3, "bright": 2})


class Sink:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


async def sent(form: Form) -> tuple[dict[str, str], bytes]:
    """What a server makes of it."""
    sink = Sink()
    parts = [part async for part in form.body()]
    messages = iter([{"type": "http.request", "body": part, "more_body": True} for part in parts])

    async def receive() -> dict[str, object]:
        return next(messages, {"type": "http.request", "body": b"", "more_body": False})

    async def begin() -> Sink:
        return sink

    read = StreamedForm(form.content_type.encode(), "dataset", 10)
    await read.read(receive, begin)
    return read.fields, sink.data


async def test_a_folder_is_zipped_as_it_is_sent_and_always_to_the_same_bytes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {f"seg/{name}": data for name, data in IMAGES.items()} | {"readme.txt": b"x"})
    told: list[tuple[int, int]] = []
    options = {"backends": ["a", "b"], "label_map": {"dark": "black"}, "labelled": False, "limit": 3}
    fields, data = await sent(Form(options, packed(folder, None), lambda done, total: told.append((done, total))))
    assert fields == {"backends": "a,b", "label_map": '{"dark": "black"}', "labelled": "false", "limit": "3"}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == IMAGES
    whole = sum(map(len, IMAGES.values()))
    assert told[-1] == (whole, whole)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    for path in folder.rglob("*.png"):
        path.touch()
    assert (await sent(Form({}, packed(folder, None), lambda *_: None)))[1] == data


async def test_a_zip_is_sent_as_it_is(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", IMAGES)
    assert await sent(Form({}, packed(path, None), lambda *_: None)) == ({}, path.read_bytes())


async def test_what_can_t_be_sent_is_refused_before_or_with_its_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "set.zip", IMAGES)
    with pytest.raises(UsageError, match="sent whole"):
        packed(path, "seg")
    both = write_folder(tmp_path / "both", {f"{split}/{name}": data for split in "ab" for name, data in IMAGES.items()})
    with pytest.raises(SeveralSets):
        packed(both, None)
    assert packed(both, "b").size == sum(map(len, IMAGES.values()))
    outside = write_folder(tmp_path / "outside", {"x.png": IMAGES["dark/1.png"]}) / "x.png"
    linked = write_folder(tmp_path / "linked", IMAGES)
    (linked / "dark" / "9.png").symlink_to(outside)
    with pytest.raises(UnreadableImage, match=r"dark/9\.png"):
        await sent(Form({}, packed(linked, None), lambda *_: None))

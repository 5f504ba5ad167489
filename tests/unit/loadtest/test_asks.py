"""What callers send, and which replies are right."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from loadtest.asks import SCORED_IMAGES, Ask, CompareAsk, asks, form
from loadtest.credentials import read_key
from loadtest.images import COUNT, ImagesError, from_zip, images, varied, write_zip
from loadtest.plan import Plan
from loadtest.reply_headers import read_server_timing, wait_for

PLAN = Plan(rate=1, backend="cnn", backends="cnn,other")
PICTURES = varied(1, 8)


def test_images_are_the_same_for_the_same_seed_and_vary() -> None:
    assert varied(5, 4) == varied(5, 4)
    assert varied(5, 4) != varied(6, 4)
    made = [Image.open(io.BytesIO(data)) for data in varied(0)]
    assert len(made) == COUNT
    assert {image.format for image in made} == {"JPEG", "PNG"}
    assert {image.mode for image in made} == {"RGB", "L"}
    assert len({image.size for image in made}) >= COUNT / 3
    assert sum(map(len, varied(0))) < 4e6


def test_a_zip_gives_back_what_was_put_in_and_the_seed_chooses(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    write_zip(path, PICTURES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "no image")
    assert sorted(from_zip(path, 0)) == sorted(PICTURES)
    assert list(from_zip(path, 0, 3)) == list(from_zip(path, 0, 3))
    assert {tuple(from_zip(path, seed, 3)) for seed in range(5)} != {tuple(from_zip(path, 0, 3))}
    assert list(images(0, str(path))) == list(from_zip(path, 0))
    assert images(3, None) == varied(3)


def test_a_zip_without_images_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "no image")
    (tmp_path / "no.zip").write_bytes(b"no zip")
    for name, reason in (("empty.zip", "holds no image"), ("no.zip", "can't be read"), ("none.zip", "can't be read")):
        with pytest.raises(ImagesError, match=reason):
            from_zip(tmp_path / name, 0)


def test_the_addresses_are_those_of_the_service() -> None:
    assert {ask.path for ask in asks("classify", PLAN, PICTURES, "cnn")} == {"/v1/classify?backend=cnn"}
    assert {ask.path for ask in asks("classify", Plan(rate=1), PICTURES, "cnn")} == {"/v1/classify"}
    assert {ask.path for ask in asks("compare", PLAN, PICTURES, "cnn")} == {"/v1/compare?backends=cnn%2Cother"}
    (path,) = {ask.path for ask in asks("customvision", PLAN, PICTURES, "a model/é")}
    assert path.endswith("/classify/iterations/a%20model%2F%C3%A9/image")
    assert [ask.body for ask in asks("classify", PLAN, PICTURES, "cnn")] == PICTURES


def test_a_set_to_score_is_a_zip_in_a_form() -> None:
    (ask,) = asks("scoring", PLAN, PICTURES, "cnn")
    begin = ask.body.index(b"PK\x03\x04")
    with zipfile.ZipFile(io.BytesIO(ask.body[begin:])) as archive:
        assert len(archive.namelist()) == SCORED_IMAGES
    assert ask.headers["Content-Type"].startswith("multipart/form-data; boundary=")


def test_a_form_is_read_as_it_was_meant() -> None:
    from email.parser import BytesParser

    body, kind = form({"file": ("a.bin", b"\x00\r\n--\xff"), "field": "value"})
    message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    parts: Any = message.get_payload()
    file, field = parts
    assert (file.get_filename(), file.get_payload(decode=True)) == ("a.bin", b"\x00\r\n--\xff")
    assert (field.get_param("name", header="content-disposition"), field.get_payload()) == ("field", "value")


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (200, b'{"predictions": []}', "ok"),
        (200, b"{}", '200 without "predictions"'),
        (429, b'{"code": "queue-full"}', "shed"),
        (500, b'{"code": "backend-failed"}', "500 backend-failed"),
        (502, b"<html>", "502 <html>"),
    ],
)
def test_a_reply_is_judged(status: int, body: bytes, fate: str) -> None:
    assert Ask("/", b"").judge(status, body) == fate


def test_a_refusal_is_right_only_if_it_is_the_very_one() -> None:
    ask = Ask("/", b"", status=415, holds=b'"unsupported-image"')
    assert ask.judge(415, b'{"code":"unsupported-image"}') == "ok"
    assert ask.judge(415, b'{"code":"other"}') == '415 without "unsupported-image"'
    assert ask.judge(200, b'{"predictions":[]}') == '200 {"predictions":[]}, not 415'
    assert ask.judge(429, b"") == "shed"


@pytest.mark.parametrize(
    ("others", "fate"),
    [
        ({}, "ok"),
        ({"b": {"status": 429, "code": "queue-full"}}, "shed"),
        ({"b": {"status": 500, "code": "backend-failed"}, "c": {"status": 429, "code": "x"}}, "a backend's 500 backend-failed"),
    ],
)
def test_a_comparison_is_only_as_good_as_its_parts(others: dict[str, object], fate: str) -> None:
    body = json.dumps({"results": {"a": {"predictions": []}, **others}}).encode()
    assert CompareAsk("/", b"", holds=b'"results"').judge(200, body) == fate


def test_server_timing_is_read_as_the_service_and_others_write_it() -> None:
    written = "queue;dur=0.449, decode;dur=1.348, infer;dur=2.225, total;dur=4.286"
    assert read_server_timing(written) == {"queue": 0.449, "decode": 1.348, "infer": 2.225, "total": 4.286}
    assert read_server_timing('miss, db;desc="a=b";dur="53", x;dur=no') == {"db": 53}
    assert read_server_timing("") == {}


@pytest.mark.parametrize(
    ("value", "seconds"), [("2", 2), ("", 1), ("Fri, 31 Dec 1999 23:59:59 GMT", 1), ("1e9", 30), ("-1", 0), ("nan", 1)]
)
def test_retry_after_is_bounded(value: str, seconds: float) -> None:
    assert wait_for(value) == seconds


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("\nfirst: one-key\nsecond:another\n")
    assert read_key({}) == ""
    assert read_key({"PARALLAX_API_KEYS_FILE": str(file)}) == "one-key"
    assert read_key({"PARALLAX_API_KEY": " mine ", "PARALLAX_API_KEYS_FILE": str(file)}) == "mine"
    file.write_text("")
    assert read_key({"PARALLAX_API_KEYS_FILE": str(file)}) == ""

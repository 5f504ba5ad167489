"""How the servers are asked, held against what the two small ones answer."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from loadtest.bench import floor, wire
from loadtest.bench.contenders import ask_floor, ask_parallax, ask_plain, copy_version, served_variant
from loadtest.bench.images import Known
from loadtest.bench.jobs import Request
from models.repository import Repository, StoredModel
from tests.support.images import labelled
from tests.support.models import tiny_model

LABELS = {"dark": 2, "größer": 2}


@pytest.fixture
def stored(tmp_path: Path) -> StoredModel:
    return tiny_model(tmp_path / "store", labels=list(LABELS))


@pytest.fixture
def known() -> list[Known]:
    return [Known(data, name.partition("/")[0]) for name, data in labelled(LABELS, "JPEG").items()]


@pytest.fixture
def plain(stored: StoredModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("BENCH_MODEL", str(stored.folder))
    monkeypatch.setenv("BENCH_FILE", served_variant(stored).file)
    yield importlib.import_module("loadtest.bench.plain").app
    del sys.modules["loadtest.bench.plain"]


async def body_of(app: Any, request: Request) -> bytes:  # noqa: ANN401  # any ASGI application
    """What an application answers to a request's very bytes."""
    head, _, body = request.data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["Content-Length"]) == len(body)
    method, path, _ = first.split(" ")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        reply = await client.request(method, path, headers=headers, content=body)
    assert reply.status_code == 200, reply.text
    return reply.content


def right(request: Request, body: bytes) -> bool:
    return all(needle in body for needle in request.needles)


async def test_the_plain_servers_replies_are_recognised(plain: Any, known: list[Known]) -> None:  # noqa: ANN401
    requests = ask_plain(known)
    bodies = [await body_of(plain, request) for request in requests]
    assert [[right(request, body) for body in bodies] for request in requests] == [
        [row == column for column in range(4)] for row in range(4)
    ], "each is right for its own request and wrong for every other"
    assert set(json.loads(bodies[0])) == {"filename", "label", "probabilities"}
    assert sum(json.loads(bodies[0])["probabilities"].values()) == pytest.approx(1)


async def test_the_floor_answers_everything(known: list[Known]) -> None:
    assert all([right(request, await body_of(floor.app, request)) for request in ask_floor(known)])


def test_parallaxs_replies_are_recognised(known: list[Known]) -> None:
    def answer(label: str, request_id: str) -> bytes:
        ranked = [{"label": label, "probability": 0.9}, {"label": "dark", "probability": 0.1}]
        return bytes(JSONResponse({"backend": "cnn", "predictions": ranked, "timing_ms": {}, "request_id": request_id}).body)

    request = ask_parallax("cnn", known)[2]
    assert b"X-Request-Id: 2\r\n" in request.data
    assert right(request, answer("größer", "2"))
    assert not right(request, answer("dark", "2")), "another label"
    assert not right(request, answer("größer", "1")), "the reply to another request"
    assert not right(request, answer("größer", "22"))


def test_headers_can_be_added(known: list[Known]) -> None:
    assert b"\r\nX-API-Key: secret\r\n" in ask_parallax("cnn", known, **{"X-API-Key": "secret"})[0].data


def test_a_request_states_its_length() -> None:
    assert wire.post("/a", b"12345", {}).startswith(b"POST /a HTTP/1.1\r\nHost: localhost\r\n")
    assert b"Content-Length: 5\r\n\r\n12345" in wire.post("/a", b"12345", {})


def test_a_store_of_one_version_is_a_sound_store(stored: StoredModel, tmp_path: Path) -> None:
    tiny_model(tmp_path / "store", name="other")
    copied = Repository(copy_version(stored, tmp_path / "copy"))
    assert copied.names() == ["tiny"]
    copied.get("tiny").verify()

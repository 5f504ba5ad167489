"""`POST /v1/classify`, as clients call it."""

import re
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import ENDLESS
from tests.support.images import Kind, encoded, plain
from tests.support.server import Connection, Server, eventually, problem_of, serving

FORM = "application/x-www-form-urlencoded"
"""What `curl --data-binary @photo.jpg` says of any body."""

ULID = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"


def labels(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [ranked["label"] for ranked in response.json()["predictions"]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize(("level", "label"), [(0, "dark"), (128, "grey"), (255, "bright")])
def test_every_format_is_recognised_by_its_bytes(client: httpx.Client, kind: Kind, level: int, label: str) -> None:
    response = client.post("/v1/classify?backend=tiny", content=plain(level, kind), headers={"Content-Type": FORM})
    assert labels(response)[0] == label


@pytest.mark.parametrize(
    "content_type", [None, FORM, "image/jpeg", "image/png", "application/octet-stream", "text/plain; charset=utf-8", "nonsense"]
)
def test_the_content_type_of_a_raw_body_does_not_matter(client: httpx.Client, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert labels(client.post("/v1/classify?backend=tiny", content=plain(255, "JPEG"), headers=headers))[0] == "bright"


@pytest.mark.parametrize("part", [("photo.jpg", plain(0), "image/jpeg"), ("x", plain(0), "text/plain")], ids=["named", "as text"])
def test_a_form_with_an_image_part_will_do_whatever_else_is_in_it(client: httpx.Client, part: tuple[str, bytes, str]) -> None:
    response = client.post("/v1/classify?backend=tiny", files={"image": part}, data={"note": "holiday", "n": "2"})
    assert labels(response)[0] == "dark"


def test_a_body_may_come_in_chunks(client: httpx.Client) -> None:
    data = encoded("PNG", 200, 200)
    response = client.post("/v1/classify?backend=tiny", content=(data[place : place + 999] for place in range(0, len(data), 999)))
    assert labels(response) == labels(client.post("/v1/classify?backend=tiny", content=data))


def test_an_old_client_is_answered_in_its_own_way(server: Server) -> None:
    """HTTP/1.0, as `ab` still speaks it: no Host, no connection kept; here with a Host, which the guard asks for."""
    with Connection(server) as connection:
        image = plain(0)
        connection.send(f"POST /v1/classify HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(image)}\r\n\r\n".encode() + image)
        assert labels(connection.reply())[0] == "dark"
        assert connection.closed()


def test_what_follows_the_end_of_a_jpeg_is_ignored(client: httpx.Client) -> None:
    assert labels(client.post("/v1/classify?backend=tiny", content=plain(0, "JPEG") + b"appended by a camera"))[0] == "dark"


def test_a_reply_has_everything_that_it_promises(client: httpx.Client) -> None:
    response = client.post("/v1/classify?backend=tiny", content=encoded())
    body = response.json()
    assert set(body) == {"backend", "version", "precision", "provider", "predictions", "timing_ms", "request_id"}
    assert (body["backend"], body["version"], body["precision"], body["provider"]) == (
        "tiny",
        "3",
        "fp32",
        "CPUExecutionProvider",
    )
    probabilities = [ranked["probability"] for ranked in body["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    timing = body["timing_ms"]
    assert list(timing) == ["queue", "decode", "infer", "total"]
    assert all(value >= 0 for value in timing.values())
    assert timing["total"] >= timing["decode"] + timing["infer"]
    stages = dict(re.findall(r"(\w+);dur=([0-9.]+)", response.headers["server-timing"]))
    assert {name: float(value) for name, value in stages.items()} == timing


def test_top_says_how_many_labels(client: httpx.Client) -> None:
    everything = labels(client.post("/v1/classify?backend=tiny&top=1000", content=plain(0)))
    assert everything == ["dark", "grey", "bright"]
    for top in (1, 2, 3):
        assert labels(client.post(f"/v1/classify?backend=tiny&top={top}", content=plain(0))) == everything[:top]


def test_three_labels_come_unless_asked_for_more(tmp_path: Path) -> None:
    with serving(tmp_path, fake__labels=list("abcde")) as server, server.client() as client:
        assert labels(client.post("/v1/classify", content=plain(0))) == ["a", "b", "c"]


def test_the_newest_version_answers_unless_another_loaded_one_is_asked_for(client: httpx.Client) -> None:
    assert client.post("/v1/classify?backend=tiny", content=plain(0)).json()["version"] == "3"
    assert client.post("/v1/classify?backend=tiny&version=2", content=plain(0)).json()["version"] == "2"
    missing = client.post("/v1/classify?backend=tiny&version=1", content=plain(0))
    assert (missing.status_code, problem_of(missing)) == (404, "unknown-version")
    assert "Loaded: 3, 2" in missing.json()["detail"]


def test_a_request_that_names_no_backend_goes_to_the_default(client: httpx.Client) -> None:
    assert client.post("/v1/classify", content=plain(0)).json()["backend"] == "fake"


def test_the_default_can_be_chosen(home: Path) -> None:
    with serving(home, default_backend="tiny", fake__labels=["a", "b"]) as server, server.client() as client:
        assert client.post("/v1/classify", content=plain(0)).json()["backend"] == "tiny"


def test_a_request_id_is_given_back_in_header_body_and_log(client: httpx.Client, server: Server) -> None:
    response = client.post("/v1/classify", content=plain(0), headers={"X-Request-Id": "my-id_1.2"})
    assert response.headers["x-request-id"] == response.json()["request_id"] == "my-id_1.2"
    eventually(
        lambda: client.get("/livez").is_success and any(record.get("request_id") == "my-id_1.2" for record in server.records),
        "the log has the request",
    )


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 65, "semi;colon", "schön", '{"json": 1}', "a\tb"])
def test_an_id_that_could_harm_a_log_is_replaced(client: httpx.Client, given: str | None) -> None:
    headers = {} if given is None else {b"X-Request-Id": given.encode()}
    response = client.post("/v1/classify", content=plain(0), headers=headers)
    assert re.fullmatch(ULID, response.headers["x-request-id"])
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_an_image_that_waits_past_its_deadline_is_dropped_while_the_only_place_is_still_busy(tmp_path: Path) -> None:
    with serving(tmp_path, **ENDLESS) as server, Connection(server) as first, server.client() as client:
        first.post("/v1/classify", plain(0))
        eventually(lambda: server.backend("fake")["queue"]["running_batches"] == 1, "the place is busy")
        late = client.post("/v1/classify", content=plain(0), headers={"X-Deadline-Ms": "20"})
        assert server.backend("fake")["queue"]["running_batches"] == 1, "the answer came before the place was free"
        assert (late.status_code, problem_of(late)) == (504, "deadline-exceeded")
        assert server.backend("fake")["queue"]["held"] == 1, "and gave only its own place back"


def test_the_configured_deadline_holds_for_who_states_none_or_a_later_one(tmp_path: Path) -> None:
    settings = ENDLESS | {"deadline_ms": 2000}
    with serving(tmp_path, **settings) as server, Connection(server) as first, server.client() as client:
        first.post("/v1/classify", plain(0))
        eventually(lambda: server.backend("fake")["queue"]["running_batches"] == 1, "the place is busy")
        for headers in ({}, {"X-Deadline-Ms": "600000"}):
            assert problem_of(client.post("/v1/classify", content=plain(0), headers=headers)) == "deadline-exceeded"

"""Bodies that are too big, too slow, too many, or never end: each is refused in words that its client gets to read."""

import http.client
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import ENDLESS, LABELS
from tests.support.images import plain
from tests.support.server import Connection, Server, eventually, problem_of, serving

MEGA = 1_000_000
MULTIPART = "multipart/form-data; boundary=X"


@pytest.fixture(autouse=True)
def _unharmed(still_healthy: None) -> None:
    """Nothing here may harm the server."""


def zeros(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes):
        yield bytes(MEGA)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("kind", ["application/octet-stream", MULTIPART], ids=["raw", "multipart"])
def test_a_100_mb_body_is_refused_and_httpx_gets_to_know(client: httpx.Client, declared: bool, kind: str) -> None:
    headers = {"Content-Type": kind} | ({"Content-Length": str(100 * MEGA)} if declared else {})
    response = client.post("/v1/classify", content=zeros(100), headers=headers)
    assert (response.status_code, problem_of(response)) == (413, "body-too-large")


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_100_mb_body_is_refused_and_the_standard_library_gets_to_know(server: Server, chunked: bool) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    headers = {} if chunked else {"Content-Length": str(100 * MEGA)}
    connection.request("POST", "/v1/classify", zeros(100), headers, encode_chunked=chunked)
    response = connection.getresponse()
    assert response.status == 413
    assert b"body-too-large" in response.read()
    connection.request("POST", "/v1/classify", plain(0))
    assert connection.getresponse().status == 200, "and the connection goes on"
    connection.close()


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl here")
@pytest.mark.parametrize(
    "options", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]], ids=["as it is", "chunked", "unasked"]
)
def test_a_100_mb_body_is_refused_and_curl_gets_to_know(server: Server, tmp_path: Path, options: list[str]) -> None:
    big = tmp_path / "big.jpg"
    with big.open("wb") as file:
        file.truncate(100 * MEGA)
    command = [
        "curl",
        "-sS",
        "--noproxy",
        "*",
        "-w",
        "\n%{http_code}",
        *options,
        "--data-binary",
        f"@{big}",
        f"{server.url}/v1/classify",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    body, status = done.stdout.rsplit("\n", 1)
    assert status == "413"
    assert "body-too-large" in body


def test_a_length_beyond_the_limit_is_refused_before_the_first_byte(server: Server) -> None:
    for kind in ("", f"Content-Type: {MULTIPART}\r\n"):
        with Connection(server) as connection:
            connection.post("/v1/classify", b"", length=6_100_000, headers=kind)
            response = connection.reply()
            assert (response.status_code, problem_of(response)) == (413, "body-too-large")


def test_a_body_one_byte_too_long_is_refused_and_the_longest_one_is_read(tmp_path: Path) -> None:
    data = plain(0, "JPEG")
    with serving(tmp_path, fake__labels=LABELS, max_body_bytes=len(data)) as server, server.client() as client:
        assert client.post("/v1/classify", content=data).status_code == 200
        assert client.post("/v1/classify", files={"image": data}).status_code == 200
        assert client.post("/v1/classify", content=iter([data])).status_code == 200
        longer: dict[str, Any]
        for longer in ({"content": data + b"x"}, {"files": {"image": data + b"x"}}, {"content": iter([data, b"x"])}):
            response = client.post("/v1/classify", **longer)
            assert (response.status_code, problem_of(response)) == (413, "body-too-large")


def test_a_slow_body_is_told_so_and_its_connection_closed(tmp_path: Path) -> None:
    with serving(tmp_path, fake__labels=LABELS, body_timeout_s=0.2) as server, server.client() as client:
        for headers in ("", "Content-Type: multipart/form-data; boundary=X\r\n"):
            with Connection(server) as connection:
                connection.post("/v1/classify", b"half", length=1000, headers=headers)
                response = connection.reply()
                assert (response.status_code, problem_of(response)) == (408, "body-too-slow")
                assert "4 bytes" in response.json()["detail"]
                assert connection.closed()
        assert client.post("/v1/classify", content=plain(0)).status_code == 200


TIGHT: dict[str, Any] = {"fake__labels": LABELS, "max_body_bytes": 200_000, "max_inflight_bytes": 200_000}
"""A budget for the bytes of one upload of unknown length at a time."""


def test_uploads_beyond_the_budget_of_bytes_are_told_to_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, **TIGHT) as server, Connection(server) as slow, server.client() as client:
        slow.post("/v1/classify", b"half", length=190_000)
        eventually(lambda: server.metric("parallax_requests_in_progress") == 2, "the upload has begun")
        refused = client.post("/v1/classify", content=iter([plain(0)]))
        assert (refused.status_code, problem_of(refused)) == (429, "uploads-full")
        assert refused.headers["retry-after"] == "1"
        assert client.post("/v1/classify", content=plain(0)).status_code == 200, "a small one fits beside it"


def test_callers_who_hang_up_within_their_body_leave_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path, **TIGHT) as server, server.client() as client:
        for number in range(1, 6):
            with Connection(server) as connection:
                connection.post("/v1/classify", b"half", length=190_000)
                eventually(lambda: server.metric("parallax_requests_in_progress") == 2, "the upload has begun")
            eventually(
                lambda number=number: server.metric("parallax_requests_total", route="/v1/classify", status="499") == number,  # type: ignore[misc]
                "it is counted as gone",
            )
        whole = client.post("/v1/classify", content=iter([plain(0)]))
        assert whole.status_code == 200, "the whole budget is free again"


def test_callers_who_hang_up_while_their_image_waits_or_runs_give_their_places_back(tmp_path: Path) -> None:
    with serving(tmp_path, **TIGHT | ENDLESS | {"fake__latency_ms": 3000}, max_queue=3) as server, server.client() as client:
        connections = [Connection(server) for _ in range(3)]
        for connection in connections:
            connection.post("/v1/classify", plain(0))
        eventually(lambda: server.backend("fake")["queue"]["held"] == 3, "all places are taken")
        refused = client.post("/v1/classify", content=plain(0))
        assert (refused.status_code, problem_of(refused)) == (429, "queue-full")
        for connection in connections:
            connection.close()
        eventually(lambda: server.backend("fake")["queue"]["held"] == 0, "all places are free")
        assert server.metric("parallax_requests_total", route="/v1/classify", status="499") == 3
        assert server.metric("parallax_requests_in_progress") == 1
        assert client.post("/v1/classify", content=plain(255)).json()["predictions"][0]["label"] == "bright"

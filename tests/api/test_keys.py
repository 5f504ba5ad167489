"""With keys, everything needs one but probes and the files of the pages; without, only this machine is answered."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import LABELS
from tests.support.images import plain
from tests.support.server import Server, problem_of, running, serving

KEY = "key-of-alice-0123456789"
OPEN = ["/livez", "/readyz", "/docs", "/docs/files/docs.js", "/docs/swagger/swagger-ui.css"]
CLOSED = [
    "/metrics",
    "/openapi.json",
    "/v1/backends",
    "/v1/backends/fake",
    "/nowhere",
    "/docs/../v1/backends",
    "/docsx",
    "/livez/",
    "//livez",
]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "keys").write_text("bob:key-of-bob-9876543210\n", encoding="utf-8")
    with serving(
        folder, fake__labels=LABELS, api_keys=f"alice:{KEY}", api_keys_file=folder / "keys", log_level="debug"
    ) as server:
        yield server


@pytest.mark.parametrize("path", OPEN)
def test_probes_and_static_files_need_no_key(keyed: Server, path: str) -> None:
    with keyed.client() as client:
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_everything_else_needs_one_whether_it_is_there_or_not(keyed: Server, method: str, path: str) -> None:
    with keyed.client() as client:
        request = client.build_request(method, "/")
        request.url = request.url.copy_with(raw_path=path.encode())  # as it stands: httpx would tidy it
        response = client.send(request)
        assert response.status_code == 401 or (response.status_code == 404 and path.startswith("/docs/")), response.text
        if response.status_code == 401:
            assert response.headers["www-authenticate"] == "Bearer"
            if method != "HEAD":
                assert problem_of(response) == "missing-key"


def test_every_route_of_the_api_needs_one(keyed: Server) -> None:
    with keyed.client() as client:
        paths = client.get("/openapi.json", headers={"X-API-Key": KEY}).json()["paths"]
        asked = [(method, path) for path, methods in paths.items() for method in methods if path not in OPEN]
        assert len(asked) >= 4
        for method, path in asked:
            response = client.request(method, path)
            if path.startswith("/customvision/"):  # which words its errors as Custom Vision does
                assert (response.status_code, response.json()["code"]) == (401, "401"), (method, path)
            else:
                assert problem_of(response) == "missing-key", (method, path)


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": "key-of-bob-9876543210"}]
)
def test_a_key_opens_it(keyed: Server, headers: dict[str, str]) -> None:
    with keyed.client(headers=headers) as client:
        assert client.post("/v1/classify", content=plain(0)).status_code == 200
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"Authorization": f"Basic {KEY}"}, {"Authorization": "Bearer"}])
def test_a_wrong_key_does_not_and_its_body_is_not_even_read(keyed: Server, headers: dict[str, str]) -> None:
    with keyed.client(headers=headers) as client:
        response = client.post("/v1/classify", content=(bytes(1_000_000) for _ in range(20)))
        assert (response.status_code, problem_of(response)) == (401, "missing-key")


def test_the_log_names_callers_and_no_key(keyed: Server) -> None:
    with keyed.client(headers={"X-API-Key": KEY}) as client:
        client.post("/v1/classify", content=plain(0), headers={"X-Request-Id": "named"})
        while not any(record.get("request_id") == "named" for record in keyed.records):
            client.get("/livez")
    record = next(record for record in keyed.records if record.get("request_id") == "named")
    assert record["caller"] == "alice"
    assert KEY not in keyed.text


def test_beyond_loopback_it_does_not_start_without_keys(tmp_path: Path) -> None:
    with running(tmp_path, host="0.0.0.0", fake__labels=LABELS) as server:
        assert server.wait() == 2
        assert "PARALLAX_ALLOW_ANONYMOUS" in server.text
        assert "Traceback" not in server.text


def test_beyond_loopback_it_starts_with_keys(tmp_path: Path) -> None:
    with serving(tmp_path, host="0.0.0.0", fake__labels=LABELS, api_keys=f"alice:{KEY}") as server:
        url = httpx.URL(server.url).copy_with(host="127.0.0.1")
        with httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/v1/backends").status_code == 401
            assert client.get("/v1/backends", headers={"X-API-Key": KEY}).status_code == 200

"""A managed online endpoint beside the models of the store, through the whole service."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import LABELS
from tests.support.azure_endpoint import KEY, Endpoint, Reply, endpoint
from tests.support.images import encoded, plain
from tests.support.server import Server, eventually, problem_of, serving


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint() as found:
        yield found


def remote(there: Endpoint, **more: object) -> dict[str, Any]:
    chosen: dict[str, object] = {"endpoint": there.url, "key": KEY, "timeout_s": 20} | more
    return {f"azure_ml__{name}": value for name, value in chosen.items()}


def is_ready(server: Server) -> bool:
    return bool(server.backend("azure_ml")["state"] == "ready")


def test_it_stands_beside_the_models_of_the_store(home: Path, there: Endpoint) -> None:
    with serving(home, **remote(there, usd_per_1000=0.5)) as server, server.client() as client:
        eventually(lambda: is_ready(server), "the endpoint has answered")
        shown = server.backend("azure_ml")
        assert (shown["kind"], shown["labels"], shown["provider"]) == ("azure_ml", LABELS, "azure_ml")
        assert shown["remote"] == {"host": f"127.0.0.1:{there.port}", "deployment": None, "timeout_s": 20.0, "usd_per_1000": 0.5}
        one = client.post("/v1/classify?backend=azure_ml&top=1", content=plain(255)).json()
        assert (one["backend"], one["predictions"][0]["label"]) == ("azure_ml", "bright")
        assert one["timing_ms"]["infer"] > 0
        both = client.post("/v1/compare", content=plain(0)).json()
        assert list(both["results"]) == ["azure_ml", "tiny"]
        assert both["agree"] is True
        assert server.backend("tiny")["default"], "nothing goes elsewhere unless it is asked for"
        bad = client.post("/v1/classify?backend=azure_ml", content=encoded("JPEG")[:200])
        assert (bad.status_code, problem_of(bad)) == (422, "broken-image")
        assert server.backend("azure_ml")["counters"]["answered"] == 2
        assert KEY not in json.dumps([server.records, client.get("/v1/backends").json()])
    assert len(there.asked) == 3


def test_the_service_is_ready_without_it_and_takes_it_up_when_it_comes(home: Path) -> None:
    with endpoint() as gone:
        port = gone.port
    with serving(home, clean=False, **remote(gone, timeout_s=1)) as server, server.client() as client:
        assert client.get("/readyz").json() == {"status": "ready", "backends": ["azure_ml", "tiny"]}
        eventually(lambda: server.backend("azure_ml")["state"] == "failing", "it was looked for")
        assert "can't be reached" in server.backend("azure_ml")["reason"]
        failed = client.post("/v1/classify?backend=azure_ml", content=plain(0))
        assert (failed.status_code, problem_of(failed)) == (502, "remote-failed")
        both = client.post("/v1/compare", content=plain(0)).json()
        assert both["results"]["azure_ml"]["code"] == "remote-failed"
        assert both["results"]["tiny"]["predictions"][0]["label"] == "dark"
        assert client.get("/readyz").status_code == 200
        with endpoint(port=port):
            found = client.post("/v1/classify?backend=azure_ml", content=plain(0))
            assert found.json()["predictions"][0]["label"] == "dark"
            assert is_ready(server)
            assert "reason" not in server.backend("azure_ml")


def test_a_service_with_nothing_else_is_ready_whatever_the_endpoint_does(tmp_path: Path, there: Endpoint) -> None:
    there.always = Reply(500)
    with serving(tmp_path, **remote(there)) as server, server.client() as client:
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/backends").json()["default"] == "azure_ml"


def test_broken_models_are_not_hidden_by_an_endpoint(home: Path, there: Endpoint) -> None:
    (home / "store" / "tiny" / "1" / "model.onnx").write_bytes(b"")
    with serving(home, **remote(there)) as server, server.client() as client:
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/classify?backend=azure_ml", content=plain(0)).status_code == 200


def test_what_goes_wrong_there_has_a_status_of_its_own(home: Path, there: Endpoint) -> None:
    with endpoint() as elsewhere, serving(home, clean=False, **remote(there, timeout_s=2)) as server, server.client() as client:
        eventually(lambda: is_ready(server), "the endpoint has answered")

        def classify() -> httpx.Response:
            return client.post("/v1/classify?backend=azure_ml", content=plain(0))

        there.script.append(Reply(401, "no"))
        assert (problem_of(refused := classify()), refused.status_code) == ("remote-failed", 502)
        assert "PARALLAX_AZURE_ML__KEY" in refused.json()["detail"]
        there.script.append(Reply(429, "<html>busy</html>", {"Retry-After": "40"}))
        assert (problem_of(busy := classify()), busy.status_code) == ("remote-busy", 429)
        assert busy.headers["retry-after"] == "40"
        there.script.append(Reply(429, "", {"Retry-After": "0"}))
        assert classify().status_code == 200, "the second attempt"
        there.script.append(Reply(307, headers={"Location": elsewhere.url}))
        assert problem_of(classify()) == "remote-failed"
        there.script.append(Reply(body="[]"))
        assert problem_of(classify()) == "remote-failed"
        assert elsewhere.asked == []
        assert server.backend("azure_ml")["counters"] == {"answered": 1, "failed": 3, "refused": 1}
        assert KEY not in json.dumps(server.records)


def test_other_labels_are_taken_by_a_reload(home: Path, there: Endpoint) -> None:
    with serving(home, clean=False, **remote(there)) as server, server.client() as client:
        eventually(lambda: is_ready(server), "the endpoint has answered")
        there.labels = ["cat", "dog"]
        assert "reload" in client.post("/v1/classify?backend=azure_ml", content=plain(0)).json()["detail"]
        assert client.post("/v1/backends/azure_ml/reload").status_code == 200
        found = client.post("/v1/classify?backend=azure_ml&top=1", content=plain(0)).json()
        assert found["predictions"][0]["label"] == "cat"


def test_a_stop_does_not_wait_for_it(home: Path, there: Endpoint) -> None:
    there.always = Reply(503)
    with serving(home, **remote(there)) as server:
        eventually(lambda: there.asked, "it was looked at")
        assert server.backend("azure_ml")["state"] in ("checking", "failing")

"""Probes and metrics."""

import socket
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import load_settings
from tests.api.conftest import ENDLESS
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import Connection, Server, eventually, problem_of, running, sample, serving


def test_a_server_with_a_model_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "backends": ["fake", "tiny"]}


def test_an_empty_store_is_alive_but_not_ready_and_says_why(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client() as client:
        assert client.get("/livez").status_code == 200
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json() == {"status": "no backend", "reasons": [f"{tmp_path / 'store'} holds no model"]}
        assert server.wait_for("no backend: the store is empty")["level"] == "WARNING"


def test_a_store_of_broken_models_is_not_ready_and_says_what_is_wrong_with_each(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tiny_model(tmp_path / "store", name).folder / "golden.npz").unlink()
    with serving(tmp_path) as server, server.client() as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        reasons = response.json()["reasons"]
        assert [reason.split(":")[0] for reason in reasons] == ["one/1", "two/1"]
        assert all("golden.npz" in reason for reason in reasons)


def test_one_broken_model_does_not_make_the_others_unready(home: Path) -> None:
    (tiny_model(home / "store", "torn").folder / "golden.npz").unlink()
    with serving(home) as server, server.client() as client:
        assert client.get("/readyz").json() == {"status": "ready", "backends": ["tiny"]}


async def test_a_server_that_stops_is_alive_but_not_ready(tmp_path: Path) -> None:
    app = create_app(load_settings(models_dir=tmp_path, data_dir=tmp_path, fake={"labels": ["a", "b"]}))
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/readyz")).status_code == 200
        app.state.services.draining = True
        stopping = await client.get("/readyz")
        assert (stopping.status_code, stopping.json()["status"]) == (503, "stopping")
        assert (await client.get("/livez")).status_code == 200
        accepted = await client.post("/v1/classify", content=plain(0))
        assert accepted.status_code == 200, "what was accepted is still answered"


def test_metrics_tell_requests_stages_and_providers(home: Path) -> None:
    with serving(home) as server, server.client() as client:
        for _ in range(3):
            client.post("/v1/classify", content=plain(0))
        client.post("/v1/classify", content=b"no picture")
        client.get("/no/such/route")
        response = client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=")
        text = response.text
    assert sample(text, "parallax_requests_total", route="/v1/classify", status="200") == 3
    assert sample(text, "parallax_requests_total", route="/v1/classify", status="415") == 1
    assert sample(text, "parallax_requests_total", route="other", status="404") == 1
    assert sample(text, "parallax_requests_in_progress") == 1, "the question itself"
    for stage in ("queue", "decode", "infer", "total"):
        assert sample(text, "parallax_stage_seconds_count", backend="tiny", version="1", stage=stage) == 3
    assert sample(text, "parallax_batches_total", backend="tiny", version="1", release="idle", outcome="answered") == 4, (
        "a lane looked at all of them"
    )
    assert sample(text, "parallax_batch_size_sum", backend="tiny", version="1") == 4
    provider = {"backend": "tiny", "version": "1", "precision": "fp32", "provider": "CPUExecutionProvider"}
    assert sample(text, "parallax_backend_provider_info", **provider) == 1


def test_paths_that_strangers_make_up_do_not_grow_the_metrics(home: Path) -> None:
    with serving(home) as server, server.client() as client:
        for number in range(20):
            assert client.get(f"/made/up/{number}").status_code == 404
            assert client.get(f"/v1/backends/{number}").status_code == 404
        text = client.get("/metrics").text
    assert sample(text, "parallax_requests_total", route="other", status="404") == 20
    assert sample(text, "parallax_requests_total", route="/v1/backends/{name}", status="404") == 20


def test_the_queue_gauge_tells_who_is_inside(tmp_path: Path) -> None:
    with serving(tmp_path, **ENDLESS) as server, Connection(server) as first, Connection(server) as second:
        for connection in (first, second):
            connection.post("/v1/classify", plain(0))
        eventually(lambda: server.metric("parallax_queue_requests", backend="fake", version="1") == 2, "both are counted")


@pytest.fixture
def metrics_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_metrics_have_a_port_of_their_own_that_needs_no_key(tmp_path: Path, metrics_port: int) -> None:
    key = "a-key-of-16-chars"
    with (
        serving(tmp_path, **ENDLESS, metrics_port=metrics_port, api_keys=f"me:{key}") as server,
        Connection(server) as first,
        server.client() as client,
    ):
        assert problem_of(client.get("/metrics")) == "missing-key"
        assert client.get("/metrics", headers={"X-API-Key": key}).status_code == 200
        first.post("/v1/classify", plain(0), headers=f"X-API-Key: {key}\r\n")
        with httpx.Client(trust_env=False) as own:
            url = f"http://127.0.0.1:{metrics_port}/metrics"
            eventually(
                lambda: sample(own.get(url).text, "parallax_requests_in_progress") == 1, "the request is counted there too"
            )
            eventually(
                lambda: sample(own.get(url).text, "parallax_queue_requests", backend="fake", version="1") == 1,
                "the queue is told there too, though nobody asks the service itself",
            )


def test_a_metrics_port_that_is_taken_is_named(home: Path, server: Server) -> None:
    taken = server.address[1]
    with running(home, metrics_port=taken) as failing:
        assert failing.wait() == 2
        assert "PARALLAX_METRICS_PORT" in failing.text
        assert "Traceback" not in failing.text

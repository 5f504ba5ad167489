"""Servers that tests share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, serving

LABELS = ["dark", "grey", "bright"]
ENDLESS: dict[str, Any] = {"fake__labels": LABELS, "fake__latency_ms": 600_000, "fake__max_batch_size": 1}
"""Settings of a stand-in whose only place is taken for good by the first image; who sent it hangs up before the server ends."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two versions of a real model named `tiny`, and a stand-in named `fake`, which is the default: the first by name."""
    folder = tmp_path_factory.mktemp("server")
    for _ in range(3):
        tiny_model(folder / "store", labels=LABELS)
    with serving(folder, keep_versions=2, fake__labels=LABELS, log_level="debug") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for a server of the test's own, with one real model."""
    tiny_model(tmp_path / "store", labels=LABELS)
    return tmp_path


@pytest.fixture
def still_healthy(server: Server) -> Iterator[None]:
    """Whatever a test sent, the server answers the next one, nothing is held back, and its log has no new error."""
    before = len(server.complaints)
    yield
    with server.client() as client:
        assert client.get("/readyz").status_code == 200
        good = client.post("/v1/classify?backend=tiny", content=plain(0))
        assert (good.status_code, good.json()["predictions"][0]["label"]) == (200, "dark")
    for name in ("fake", "tiny"):
        eventually(lambda name=name: server.backend(name)["queue"]["held"] == 0, "every place was given back")  # type: ignore[misc]
    assert server.complaints[before:] == []

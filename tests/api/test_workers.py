"""Several processes behind one port."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from models.metadata import Precision
from models.runtime import runtime_of
from service.api.wire import REQUESTS_OF_SEVERAL
from service.plans import Kept, PlanBook
from service.tuning import Measured, Plan
from tests.api.conftest import LABELS
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, running, serving


@pytest.fixture
def workers(home: Path) -> Iterator[Server]:
    with serving(home, workers=2, poll_s=3600, cpus=2, clean=False) as server:
        yield server


def classify(server: Server, count: int) -> list[str]:
    """Versions that answered, each over a connection of its own."""
    seen = []
    for _ in range(count):
        with server.client() as client:
            seen.append(client.post("/v1/classify", content=plain(0)).raise_for_status().json()["version"])
    return seen


def test_all_workers_answer_and_their_metrics_are_merged(workers: Server) -> None:
    assert classify(workers, 40) == ["1"] * 40
    counted = {"route": "/v1/classify", "status": "200"}
    eventually(lambda: workers.metric("parallax_requests_total", **counted) == 40, "every request is counted, whoever is asked")
    eventually(
        lambda: workers.metric("parallax_stage_seconds_count", backend="tiny", version="1", stage="infer") == 40,
        "and every image",
    )
    provider = {"backend": "tiny", "version": "1", "precision": "fp32", "provider": "CPUExecutionProvider"}
    assert workers.metric("parallax_backend_provider_info", **provider) == 1


def test_one_reload_is_for_all_of_them(workers: Server, home: Path) -> None:
    tiny_model(home / "store", labels=LABELS)
    with workers.client() as client:
        client.post("/v1/backends/tiny/reload").raise_for_status()
    assert set(classify(workers, 40)) == {"2"}


def test_a_worker_that_dies_is_replaced_and_the_others_serve_on(workers: Server) -> None:
    children = Path(f"/proc/{workers.process.pid}/task/{workers.process.pid}/children")
    if not children.exists():
        pytest.fail("this kernel does not tell children")
    before = _serving(children)
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: before[0] not in _serving(children) and len(_serving(children)) == len(before), "another took its place")
    assert workers.wait_for("a worker died; another takes its place")
    eventually(lambda: classify(workers, 10) == ["1"] * 10, "all connections are answered again")


def test_connections_are_renewed_where_a_worker_may_take_anothers_place(workers: Server) -> None:
    with workers.client() as client:
        said = [client.get("/livez").headers.get("connection") for _ in range(2 * REQUESTS_OF_SEVERAL)]
    assert said.count("close") == 2
    assert said[REQUESTS_OF_SEVERAL - 1] == said[-1] == "close"


def test_a_worker_that_takes_anothers_place_serves_the_variant_that_the_others_serve(tmp_path: Path) -> None:
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    stored = tiny_model(tmp_path / "store", labels=LABELS, precisions=precisions, speeds={"fp32": 100, "int8": 200})
    with serving(tmp_path, workers=2, poll_s=3600, cpus=2, tune="off", clean=False) as server:
        assert _precisions(server, 10) == {"int8"}
        for variant, speed in zip(stored.card.variants, (200, 100), strict=True):  # what a tuner finds meanwhile
            key = ["tiny", variant.sha256, *runtime_of("CPUExecutionProvider")]
            PlanBook(tmp_path / "data" / "plans", 1).keep(key, Kept(Plan(1, 1, 1), [Measured(Plan(1, 1, 1), speed)]))
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        before = set(_serving(children))
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(set(_serving(children)) - before) == len(before), "others took their places")
        eventually(lambda: _precisions(server, 10), "they answer")
        assert _precisions(server, 10) == {"int8"}
    with serving(tmp_path, cpus=1, tune="off") as server:
        assert _precisions(server, 1) == {"fp32"}, "the next start knows of it"


def _precisions(server: Server, count: int) -> set[str]:
    """Those that answered, each time over a connection of its own."""
    seen = set()
    for _ in range(count):
        with server.client() as client, suppress(httpx.TransportError):
            seen.add(client.post("/v1/classify?backend=tiny", content=plain(0)).raise_for_status().json()["precision"])
    return seen


def test_workers_that_can_not_start_end_the_start_with_the_reason(home: Path) -> None:
    with running(home, workers=2, default_backend="none") as server:
        assert server.wait() == 2
        assert "PARALLAX_DEFAULT_BACKEND=none" in server.text
        assert "Traceback" not in server.text


def test_without_keys_workers_do_not_listen_beyond_this_machine_either(home: Path) -> None:
    with running(home, workers=2, host="0.0.0.0") as server:
        assert server.wait() == 2
        assert "PARALLAX_API_KEYS" in server.text


def _serving(children: Path) -> list[int]:
    """Workers, without multiprocessing's own helper."""
    pids = [int(pid) for pid in children.read_text().split()]
    found = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found

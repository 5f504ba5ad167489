"""A job survives its server: `kill -9` at any moment, and a replica that never comes back."""

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import LABELS
from tests.support import postgres
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, running

KILLS = int(os.environ.get("PARALLAX_TEST_KILLS", "3"))
COUNT = dict.fromkeys(LABELS, 60)
SLOW = {"fake__labels": LABELS, "fake__latency_ms": 8, "fake__max_batch_size": 1}
"""A stand-in that makes the job last."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        tiny_model(tmp_path / "store", name, labels=LABELS)
    write_folder(tmp_path / "sets" / "good", labelled(COUNT, width=16, height=16))
    return tmp_path


def job_of(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/scorings/{job}").raise_for_status().json()
    return found


def check(client: httpx.Client, job: str) -> None:
    """Wait for the end: every image counts once for every backend."""
    eventually(lambda: job_of(client, job)["state"] not in {"queued", "running"}, "the job ended")
    found = job_of(client, job)
    assert (found["state"], found["note"]) == ("succeeded", None)
    assert found["progress"] == {"done": 540, "total": 540}
    rows = [json.loads(line) for line in client.get(f"/v1/scorings/{job}/predictions").text.splitlines()]
    often = Counter((row["backend"], row["image"]) for row in rows)
    assert set(often.values()) == {1}
    assert len(often) == 540
    assert {row["error"] for row in rows} == {None}
    assert [one["progress"]["done"] for one in found["backends"]] == [180, 180, 180]
    assert [one["accuracy"] for one in found["backends"]] == [1.0, 1.0, 1.0]


def reach(client: httpx.Client, job: str, rows: int) -> None:
    eventually(lambda: job_of(client, job)["progress"]["done"] >= rows, f"it comes to {rows} rows")


def hand_in(server: Server) -> str:
    with server.client() as client:
        asked = {"dataset": "good", "concurrency": 1, "warmup": 1}
        return str(client.post("/v1/scorings", json=asked).raise_for_status().json()["id"])


def test_a_job_goes_on_after_every_kill(home: Path) -> None:
    chance = random.Random(1)
    job = ""
    for _ in range(KILLS):
        with running(home, datasets_dir=home / "sets", **SLOW) as server:
            server.wait_for("listening")
            job = job or hand_in(server)
            with server.client() as client:
                more = chance.randrange(1, 2 + 500 // KILLS)
                reach(client, job, min(500, job_of(client, job)["progress"]["done"] + more))
            server.send_signal(signal.SIGKILL)
            server.wait()
    with running(home, datasets_dir=home / "sets", **SLOW) as server:
        server.wait_for("listening")
        with server.client() as client:
            check(client, job)
            assert client.get(f"/v1/scorings/{job}/events").text.count("event: resumed\n") == KILLS


def test_another_replica_goes_on_where_one_died_for_good(home: Path) -> None:
    programs = postgres.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running(programs) as url:
        settings: dict[str, Any] = {"datasets_dir": home / "sets", "models_dir": home / "store", "database_url": url, **SLOW}
        settings["scoring_lease_s"] = 1
        with running(home / "a", **settings) as first, running(home / "b", **settings) as second:
            for server in (first, second):
                server.wait_for("listening")
            job = hand_in(first)
            with second.client() as client:
                reach(client, job, 100)
                assert job_of(client, job)["state"] == "running"
            at_work = next(one for one in (first, second) if any(r.get("message") == "scoring" for r in one.records))
            at_work.send_signal(signal.SIGKILL)
            at_work.wait()
            other = second if at_work is first else first
            with other.client() as client:
                check(client, job)
            other.wait_for("scored")

"""A job survives its server: `kill -9` at any moment, and a replica that never comes back.

With `PARALLAX_TEST_STORE`, a folder of models, the job is over the test set in `PARALLAX_TEST_IMAGES`, with the backends
`PARALLAX_TEST_BACKENDS` of that store; `PARALLAX_TEST_KILLS` says how often it is killed. `pytest -s` shows the figures.
"""

import json
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from service.tuning import HANDOVER
from tests.api.conftest import LABELS
from tests.support import postgres
from tests.support.images import labelled, write_folder, write_zip
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, running

KILLS = int(os.environ.get("PARALLAX_TEST_KILLS", "3"))
STORE = os.environ.get("PARALLAX_TEST_STORE", "")
BACKENDS = os.environ.get("PARALLAX_TEST_BACKENDS", "cnn,transfer,automl").split(",")
COUNT = dict.fromkeys(LABELS, 60)
SLOW = {"fake__labels": LABELS, "fake__latency_ms": 12, "fake__max_batch_size": 1}
"""A stand-in that makes the job last. It is asked last: models are done within one transaction, and kills come before the end."""


class Work(NamedTuple):
    """What is asked for, of which servers."""

    home: Path
    settings: dict[str, Any]
    asked: dict[str, Any]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    if STORE:
        real = {"models_dir": STORE, "datasets_dir": os.environ["PARALLAX_TEST_IMAGES"], "tune": "off"}
        return Work(tmp_path, real, {"dataset": "intel-test-public.zip", "backends": BACKENDS})
    for name in ("one", "two"):
        tiny_model(tmp_path / "store", name, labels=LABELS)
    write_folder(tmp_path / "sets" / "good", labelled(COUNT, width=16, height=16))
    settings: dict[str, Any] = {"models_dir": tmp_path / "store", "datasets_dir": tmp_path / "sets", **SLOW}
    return Work(tmp_path, settings, {"dataset": "good", "backends": ["one", "two", "fake"], "concurrency": 1, "warmup": 1})


def job_of(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/scorings/{job}").raise_for_status().json()
    return found


def check(client: httpx.Client, job: str, kills: int, began: float) -> None:
    """Wait for the end: every image counts once for every backend."""
    reach(client, job, job_of(client, job)["progress"]["total"])
    eventually(lambda: job_of(client, job)["state"] not in {"queued", "running"}, "the job ended")
    found = job_of(client, job)
    images, backends = found["dataset"]["images"], found["backends"]
    rows = [json.loads(line) for line in client.get(f"/v1/scorings/{job}/predictions").text.splitlines()]
    often = Counter((row["backend"], row["image"]) for row in rows)
    resumed = client.get(f"/v1/scorings/{job}/events").text.count("event: resumed\n")
    print(
        f"{kills} kills, {resumed} times resumed: {len(rows):,} rows of {images:,} images x {len(backends)} backends, "
        f"{sum(count > 1 for count in often.values())} doubled, {images * len(backends) - len(often)} missing, "
        f"{sum(row['error'] is not None for row in rows)} errors, {time.monotonic() - began:.0f} s"
    )
    assert (found["state"], found["note"]) == ("succeeded", None)
    assert found["progress"] == {"done": images * len(backends), "total": images * len(backends)}
    assert set(often.values()) == {1}
    assert len(often) == len(rows) == images * len(backends)
    assert {row["error"] for row in rows} == {None}
    assert resumed == kills
    for one in backends:
        right = [row["predicted"] == row["label"] for row in rows if row["backend"] == one["name"]]
        assert len(right) == one["progress"]["done"] == images
        assert one["accuracy"] == pytest.approx(sum(right) / images)
    if not STORE:
        assert [one["accuracy"] for one in backends] == [1.0] * len(backends)


def reach(client: httpx.Client, job: str, rows: int) -> None:
    """Wait for so many rows, as long as there are ever more."""
    done = -1

    def more() -> bool:
        nonlocal done
        before, done = done, job_of(client, job)["progress"]["done"]
        return bool(done > before)

    while done < rows:
        eventually(more, f"there are more rows than {done}, of {rows}")


def hand_in(server: Server, work: Work) -> str:
    with server.client() as client:
        return str(client.post("/v1/scorings", json=work.asked).raise_for_status().json()["id"])


def test_a_job_goes_on_after_every_kill(work: Work) -> None:
    chance = random.Random(1)
    began = time.monotonic()
    job = ""
    for _ in range(KILLS):
        with running(work.home, **work.settings) as server:
            server.wait_for("listening")
            job = job or hand_in(server, work)
            server.wait_for("scoring")
            with server.client() as client:
                progress = job_of(client, job)["progress"]
                more = chance.randrange(1, 2 + int(0.9 * progress["total"] / KILLS))
                reach(client, job, min(int(0.9 * progress["total"]), progress["done"] + more))
            server.send_signal(signal.SIGKILL)
            server.wait()
    with running(work.home, **work.settings) as server:
        server.wait_for("listening")
        with server.client() as client:
            check(client, job, KILLS, began)


def test_images_that_went_in_groups_count_once_too(tmp_path: Path) -> None:
    tiny_model(tmp_path / "store", "one", labels=LABELS)
    (tmp_path / "sets").mkdir()
    images = labelled(dict.fromkeys(LABELS, 1), width=16, height=16)
    write_zip(
        tmp_path / "sets" / "many.zip",
        {f"{name.split('/')[0]}/{number}.png": data for name, data in images.items() for number in range(4000)},
    )
    settings: dict[str, Any] = {"models_dir": tmp_path / "store", "datasets_dir": tmp_path / "sets", "tune": "off"}
    work = Work(tmp_path, settings, {"dataset": "many.zip", "backends": ["one"]})
    began = time.monotonic()
    with running(work.home, **work.settings) as server:
        server.wait_for("listening")
        job = hand_in(server, work)
        with server.client() as client:
            reach(client, job, 1)
        server.send_signal(signal.SIGKILL)
        server.wait()
    with running(work.home, **work.settings) as server:
        server.wait_for("listening")
        with server.client() as client:
            check(client, job, 1, began)
            told = client.get("/metrics").text
            handed, batches = (
                float(re.findall(rf"^parallax_batch_size_{of}\{{.*\}} (\S+)$", told, re.MULTILINE)[0]) for of in ("sum", "count")
            )
            assert handed / batches > HANDOVER, "they went in larger groups than requests do"


def test_another_replica_goes_on_where_one_died_for_good(work: Work) -> None:
    programs = postgres.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running(programs) as url:
        settings: dict[str, Any] = {**work.settings, "database_url": url, "scoring_lease_s": 1}
        with running(work.home / "a", **settings) as first, running(work.home / "b", **settings) as second:
            for server in (first, second):
                server.wait_for("listening")
            began = time.monotonic()
            job = hand_in(first, work)
            with second.client() as client:
                reach(client, job, job_of(client, job)["progress"]["total"] // 5)
                assert job_of(client, job)["state"] == "running"
            at_work = next(one for one in (first, second) if any(r.get("message") == "scoring" for r in one.records))
            at_work.send_signal(signal.SIGKILL)
            at_work.wait()
            other = second if at_work is first else first
            with other.client() as client:
                check(client, job, 1, began)
            other.wait_for("scored")

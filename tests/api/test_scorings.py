"""Batch scoring through HTTP: jobs asked for, watched, read and cancelled."""

import csv
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.conftest import ENDLESS, LABELS
from tests.support.images import labelled, write_folder, write_zip
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, problem_of, serving
from tests.support.zips import listing

COUNT = {"dark": 7, "grey": 6, "bright": 5}
IMAGES = labelled(COUNT)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scoring")
    for name in ("one", "two"):
        tiny_model(folder / "store", name, labels=LABELS)
    write_folder(folder / "sets" / "good", IMAGES)
    write_zip(folder / "sets" / "wrapped.zip", {f"seg_test/{name}": data for name, data in IMAGES.items()})
    write_folder(folder / "sets" / "wrong", {f"night/{number}": data for number, data in enumerate(IMAGES.values())})
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with serving(home, datasets_dir=home / "sets", max_dataset_bytes=20_000_000) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def ended(client: httpx.Client, reply: httpx.Response) -> dict[str, Any]:
    """The job that a reply announces, once it has ended."""
    assert reply.status_code == 202, reply.text
    place = reply.headers["location"]
    assert place == f"/v1/scorings/{reply.json()['id']}"
    found: dict[str, Any] = {}

    def over() -> bool:
        nonlocal found
        found = client.get(place).raise_for_status().json()
        return found["state"] in {"succeeded", "failed", "cancelled"}

    eventually(over, "the job ended")
    return found


def predictions(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    reply = client.get(f"/v1/scorings/{job}/predictions").raise_for_status()
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def test_a_set_is_scored_with_all_backends_and_the_rows_are_those_of_classify(client: httpx.Client) -> None:
    job = ended(client, client.post("/v1/scorings", json={"dataset": "good", "concurrency": 2}))
    assert (job["state"], job["note"]) == ("succeeded", None)
    assert job["progress"] == {"done": 36, "total": 36}
    assert [(one["name"], one["accuracy"], one["failed"]) for one in job["backends"]] == [("one", 1.0, 0), ("two", 1.0, 0)]
    assert job["dataset"] | {"images": 18, "labelled": True, "labels": sorted(LABELS)} == job["dataset"]
    rows = predictions(client, job["id"])
    assert {(row["backend"], row["image"]) for row in rows} == {(name, image) for name in ("one", "two") for image in IMAGES}
    for row in rows[:6]:
        told = client.post(f"/v1/classify?backend={row['backend']}&top=1", content=IMAGES[row["image"]]).json()
        assert told["predictions"] == [{"label": row["predicted"], "probability": row["probability"]}]
        assert (row["label"], row["error"]) == (row["image"].split("/")[0], None)
        assert set(row["timing_ms"]) == {"queue", "decode", "infer", "total"}
    results = job["results"]
    assert [one["quality"]["accuracy"]["value"] for one in results["backends"]] == [1.0, 1.0]
    small = client.get(f"/v1/scorings/{job['id']}/images/dark/1.png")
    assert (small.headers["content-type"], small.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert problem_of(client.get(f"/v1/scorings/{job['id']}/images/dark/99.png")) == "unreadable-image"
    table = client.get(f"/v1/scorings/{job['id']}/predictions?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 37


@pytest.mark.parametrize("wrapper", ["", "seg_test/"])
def test_an_uploaded_zip_is_scored_and_kept_by_its_digest(client: httpx.Client, tmp_path: Path, wrapper: str) -> None:
    zipped = write_zip(tmp_path / "x.zip", {f"{wrapper}{name}": data for name, data in IMAGES.items()}).read_bytes()
    fields = {"backends": "two, one", "limit": "5", "label_map": "{}", "seed": ""}
    reply = client.post("/v1/scorings", data=fields, files={"dataset": ("C:\\sets\\x.zip", zipped)})
    job = ended(client, reply)
    assert [one["name"] for one in job["backends"]] == ["two", "one"]
    assert job["options"]["title"] == "x.zip"
    assert job["progress"] == {"done": 10, "total": 10}
    name = job["dataset"]["name"]
    listed = {one["name"]: one for one in client.get("/v1/datasets").json()["datasets"]}
    assert listed[name]["bytes"] == len(zipped)
    assert set(listed) >= {"good", "wrapped.zip", name}
    again = ended(client, client.post("/v1/scorings", data={"dataset": name, "backends": "one"}, files={"seed": (None, "3")}))
    assert again["progress"]["total"] == 18
    assert {row["image"] for row in predictions(client, again["id"])} == set(IMAGES)


def test_events_tell_of_the_progress_to_the_end(client: httpx.Client) -> None:
    job = client.post("/v1/scorings", json={"dataset": "wrapped.zip", "mode": "latency"}).json()["id"]
    with client.stream("GET", f"/v1/scorings/{job}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = reply.read().decode()
    events = [dict(line.split(": ", 1) for line in event.splitlines()) for event in text.strip().split("\n\n")]
    kinds = [event["event"] for event in events if event["event"] != "progress"]
    assert kinds == ["queued", "started", "succeeded", "end"]
    last = [json.loads(event["data"]) for event in events if event["event"] == "progress"][-1]
    assert (last["done"], last["total"], last["state"]) == (36, 36, "succeeded")
    assert last["backends"][0]["accuracy"] == 1.0
    after = client.get(f"/v1/scorings/{job}/events", headers={"Last-Event-ID": events[0]["id"]}).text
    assert "event: queued" not in after
    assert "event: started" in after


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({}, 422, "bad-parameter", "dataset is missing"),
        ({"dataset": "nowhere"}, 404, "unknown-dataset", "GET /v1/datasets"),
        ({"dataset": "../store"}, 404, "unknown-dataset", "folder of sets"),
        ({"dataset": "/etc"}, 404, "unknown-dataset", "folder of sets"),
        ({"dataset": "https://example.org/x.jsonl"}, 404, "unknown-dataset", "PARALLAX_DATASETS_ALLOW"),
        ({"dataset": "simplecache::file:///etc/passwd"}, 404, "unknown-dataset", "chain"),
        ({"dataset": "good", "backends": ["none"]}, 404, "unknown-backend", "one, two"),
        ({"dataset": "good", "mode": "latency", "concurrency": 4}, 422, "bad-parameter", "one image at a time"),
        ({"dataset": "good", "limit": 0}, 422, "bad-parameter", "limit"),
        ({"dataset": "good", "label_map": {"dark": "black"}}, 422, "unmatched-labels", "one does not know 'dark'"),
        ({"dataset": "good", "colour": "red"}, 422, "bad-parameter", "colour"),
        ({"dataset": "wrong"}, 422, "bad-dataset", "holds no image"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    client: httpx.Client, body: dict[str, Any], status: int, code: str, said: str
) -> None:
    reply = client.post("/v1/scorings", json=body)
    assert (reply.status_code, problem_of(reply)) == (status, code)
    assert said in reply.json()["detail"]


def test_forms_that_make_no_sense_are_refused_and_leave_nothing(client: httpx.Client, home: Path) -> None:
    before = sorted((home / "data" / "datasets").glob("*")) if (home / "data" / "datasets").exists() else []
    files = {"dataset": ("x.zip", b"no zip")}
    assert problem_of(client.post("/v1/scorings", files=files)) == "bad-dataset"
    assert problem_of(client.post("/v1/scorings", files=files, data={"label_map": "{"})) == "bad-parameter"
    assert problem_of(client.post("/v1/scorings", files={"dataset": ("x.zip", b"")})) == "bad-multipart"
    assert problem_of(client.post("/v1/scorings", files={"dataset": ("x.zip", bytes(20_100_000))})) == "body-too-large"
    chunks = iter([b"--b\r\nContent-Disposition: form-data; name=dataset; filename=x\r\n\r\n", *[bytes(1_000_000)] * 21])
    told = client.post("/v1/scorings", content=chunks, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert problem_of(told) == "body-too-large"
    folder = home / "data" / "datasets"
    assert sorted(folder.glob("*")) == before


TWICE = {"dark/./1.png": IMAGES["dark/1.png"]}
HOSTILE: dict[str, tuple[dict[str, bytes] | bytes, str, str]] = {
    "a list of 100,001": (listing(100_001), "bad-dataset", "holds 100,001 files, more than 100,000"),
    "a list of millions": (listing(200_001), "bad-dataset", "lists more files than the 100,000"),
    "terabytes": (listing(300, size=0xFFFF_FFF0), "bad-dataset", "bytes unpacked, more than"),
    "a path that leads out": (IMAGES | {"../../x.png": b""}, "bad-dataset", "'../../x.png', which leads out of it"),
    "an absolute path": (IMAGES | {"/etc/x.png": b""}, "bad-dataset", "'/etc/x.png', which leads out of it"),
    "a zip in a zip": (IMAGES | {"dark/inner.zip": b"PK"}, "bad-dataset", "holds another zip, 'dark/inner.zip'"),
    "a name twice": (IMAGES | TWICE, "bad-dataset", "holds 'dark/1.png' more than once"),
    "wrong labels": (IMAGES | {"night/1.png": b"x"}, "unmatched-labels", "one does not know 'night'"),
    "no image": ({"dark/readme.txt": b"x"}, "bad-dataset", "holds no image"),
    "nothing": ({}, "bad-dataset", "holds no image"),
    "a name that rings": ({"dark/\x07\x1b[31m.png": b"x"}, "bad-dataset", "unprintable characters"),
    "an endless name": ({f"dark/{'x' * 2000}.png": b"x"}, "bad-dataset", "more than 1024"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_zip_is_refused_with_what_is_wrong_and_not_kept(
    client: httpx.Client, tmp_path: Path, home: Path, kind: str
) -> None:
    files, code, said = HOSTILE[kind]
    data = files if isinstance(files, bytes) else write_zip(tmp_path / "x.zip", files).read_bytes()
    reply = client.post("/v1/scorings", files={"dataset": ("x.zip", data)})
    assert (reply.status_code, problem_of(reply)) == (422, code)
    assert said in reply.json()["detail"]
    assert reply.json()["detail"].isprintable()
    kept = home / "data" / "datasets" / f"{hashlib.sha256(data).hexdigest()}.zip"
    assert kept.exists() == (code == "unmatched-labels"), "with a `label_map` it is one that can be scored"


def test_one_class_is_scored_and_names_that_nobody_should_run_are_only_names(client: httpx.Client, tmp_path: Path) -> None:
    names = [
        "<img src=x onerror=alert(1)>.png",
        "=cmd|' -C calc'!A0.png",
        "a\u00e9 \u4e2d %2e%2e%2f.png",
        "'; DROP TABLE scorings;--.png",
    ]
    files = {f"dark/{name}": data for name, data in zip(names, IMAGES.values(), strict=False)}
    data = write_zip(tmp_path / "x.zip", files).read_bytes()
    job = ended(client, client.post("/v1/scorings", files={"dataset": ("x.zip", data)}))
    assert (job["state"], job["dataset"]["labels"]) == ("succeeded", ["dark"])
    assert [one["accuracy"] for one in job["backends"]] == [1.0, 1.0]
    assert {row["image"] for row in predictions(client, job["id"])} == set(files)
    assert "<img src=x onerror" not in client.get(f"/v1/scorings/{job['id']}/report").text
    for line in csv.DictReader(client.get(f"/v1/scorings/{job['id']}/predictions?format=csv").text.splitlines()):
        assert line["image"] in files
    for image in files:
        small = client.get(f"/v1/scorings/{job['id']}/images/{quote(image)}")
        assert small.content[:2] == b"\xff\xd8", image


def test_an_idempotency_key_makes_one_job_of_a_request_that_is_sent_twice(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "today"}
    first = client.post("/v1/scorings", json={"dataset": "good", "limit": 1}, headers=headers).json()["id"]
    assert client.post("/v1/scorings", json={"dataset": "good", "limit": 1}, headers=headers).json()["id"] == first
    assert problem_of(client.post("/v1/scorings", json={"dataset": "good"}, headers=headers)) == "key-reused"


def test_jobs_are_listed_newest_first_in_pages(client: httpx.Client) -> None:
    made = [client.post("/v1/scorings", json={"dataset": "good", "limit": 1}).json()["id"] for _ in range(3)]
    page = client.get("/v1/scorings?limit=2").json()
    assert [one["id"] for one in page["scorings"]] == made[:0:-1]
    following = client.get(f"/v1/scorings?limit=2&before={page['next']}").json()
    assert following["scorings"][0]["id"] == made[0]


@pytest.mark.parametrize("path", ["", "/events", "/predictions"])
@pytest.mark.parametrize("job", ["01ABCDEFG", "%2e%2e"])
def test_a_job_that_is_not_there_is_a_404(client: httpx.Client, path: str, job: str) -> None:
    assert problem_of(client.get(f"/v1/scorings/{job}{path}")) == "unknown-scoring"


def test_a_job_is_cancelled_and_keeps_its_rows(tmp_path: Path) -> None:
    write_folder(tmp_path / "sets" / "good", IMAGES)
    with (
        serving(
            tmp_path, datasets_dir=tmp_path / "sets", fake__labels=LABELS, fake__latency_ms=100, fake__max_batch_size=1
        ) as slow,
        slow.client() as client,
    ):
        reply = client.post("/v1/scorings", json={"dataset": "good", "warmup": 0, "concurrency": 1})
        place = reply.headers["location"]
        eventually(lambda: client.get(place).json()["progress"]["done"], "it has begun")
        assert client.delete(place).status_code == 202
        job = ended(client, reply)
        assert job["state"] == "cancelled"
        assert 0 < len(predictions(client, job["id"])) == job["progress"]["done"] < 18
        assert job["results"]["run"]["state"] == "cancelled"


def test_a_report_is_one_safe_file(client: httpx.Client) -> None:
    job = ended(client, client.post("/v1/scorings", json={"dataset": "good"}))
    reply = client.get(f"/v1/scorings/{job['id']}/report").raise_for_status()
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
    assert "one" in reply.text
    assert "two" in reply.text
    assert f"{job['results']['backends'][0]['quality']['accuracy']['correct']}" in reply.text
    assert "https://" not in reply.text.split("</style>")[1].split("<script")[0]


def test_a_zip_of_several_sets_is_kept_until_one_is_named(client: httpx.Client, tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "both.zip", {f"{split}/{name}": data for split in ("seg_a", "seg_b") for name, data in IMAGES.items()}
    )
    with path.open("rb") as file:
        refused = client.post("/v1/scorings", files={"dataset": file}, data={"backends": "one"})
    assert problem_of(refused) == problem_of(client.post("/v1/scorings", json={"dataset": "sha256:" + digest(path)}))
    assert "#seg_a" in refused.json()["detail"]
    job = ended(client, client.post("/v1/scorings", json={"dataset": f"sha256:{digest(path)}#seg_a", "backends": ["one"]}))
    assert (job["state"], job["progress"]["total"]) == ("succeeded", len(IMAGES))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_job_under_way_has_no_report_and_its_events_hold_up_no_stop(tmp_path: Path) -> None:
    write_folder(tmp_path / "sets" / "good", IMAGES)
    with (
        serving(tmp_path, datasets_dir=tmp_path / "sets", clean=False, grace_s=20, **ENDLESS) as server,
        server.client() as client,
    ):
        job = client.post("/v1/scorings", json={"dataset": "good"}).json()["id"]
        assert problem_of(client.get(f"/v1/scorings/{job}/report")) == "unfinished-scoring"
        with client.stream("GET", f"/v1/scorings/{job}/events") as events:
            lines = events.iter_lines()
            next(lines)
            server.send_signal()
            began = time.monotonic()
            for _ in lines:
                pass
            assert time.monotonic() - began < 10, "well before the grace time is over"

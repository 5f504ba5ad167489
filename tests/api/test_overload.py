"""Far more requests than there are places: each is answered, at once with 429 or later with its own result."""

import asyncio
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.api.conftest import ENDLESS, LABELS
from tests.support.images import plain
from tests.support.server import Connection, Server, eventually, problem_of, serving

REQUESTS = 10_000
CONNECTIONS = 500
MAX_QUEUE = 8
KEYS = [f"key-of-caller-number-{number}" for number in range(50)]
"""So many callers that none of them is refused so often that it waits to be told."""

IMAGES = {label: plain(level) for label, level in zip(LABELS, (0, 128, 255), strict=True)}


def message(label: str, number: int, key: str) -> bytes:
    image = IMAGES[label]
    head = ["POST /v1/classify?top=1 HTTP/1.1", "Host: localhost", f"X-API-Key: {key}", f"X-Request-Id: {number}"]
    return "\r\n".join([*head, f"Content-Length: {len(image)}", "", ""]).encode() + image


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, key: str) -> str:
    """Send one request and hold its reply against what was sent. Returns what came of it."""
    label = LABELS[number % len(LABELS)]
    writer.write(message(label, number, key))
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    assert body["request_id"] == headers["x-request-id"] == str(number)
    status = int(head.split()[1])
    if status == 200:
        assert [ranked["label"] for ranked in body["predictions"]] == [label]
        return "answered"
    assert status == 429, body
    assert body["code"] == "queue-full"
    assert 1 <= int(headers["retry-after"]) <= 60
    return "refused"


async def storm(server: Server, keys: Iterable[str], numbers: Iterable[int]) -> Counter[str]:
    """All requests, dealt to as many connections as there are keys."""
    left = iter(numbers)
    outcomes: Counter[str] = Counter()

    async def one_connection(key: str) -> None:
        reader, writer = await asyncio.open_connection(*server.address)
        for number in left:
            outcomes[await ask(reader, writer, number, key)] += 1
        writer.close()
        await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(one_connection(key))
    return outcomes


def test_ten_thousand_requests_on_five_hundred_connections_are_all_answered(tmp_path: Path) -> None:
    quick = {"fake__latency_ms": 2, "fake__max_batch_size": 4}
    keys = ",".join(f"caller-{number}:{key}" for number, key in enumerate(KEYS))
    settings = ENDLESS | quick | {"max_queue": MAX_QUEUE, "api_keys": keys}
    with serving(tmp_path, **settings) as server, server.client(headers={"X-API-Key": KEYS[0]}) as client:
        outcomes = asyncio.run(storm(server, KEYS * (CONNECTIONS // len(KEYS)), range(REQUESTS)))
        assert outcomes.total() == REQUESTS
        assert outcomes["answered"] >= MAX_QUEUE
        assert outcomes["refused"] >= 1, "the queue was never full: this was no overload"
        backend = client.get("/v1/backends/fake").json()["backends"][0]
        assert backend["queue"] == {"held": 0, "waiting": 0, "running_batches": 0, "max_queue": MAX_QUEUE}
        assert backend["counters"] == {"answered": outcomes["answered"], "failed": 0, "refused": outcomes["refused"]}
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/classify", content=IMAGES["grey"]).json()["predictions"][0]["label"] == "grey"


def test_who_is_refused_time_and_again_is_told_later(home: Path) -> None:
    """Of 200 connections that ask on and on most wait, and none of them holds up anybody else."""
    over = threading.Event()
    until_over = itertools.takewhile(lambda _: not over.is_set(), itertools.count())
    with (
        serving(home, **ENDLESS, max_queue=1) as server,
        ThreadPoolExecutor(1) as pool,
        server.client() as client,
        Connection(server) as holder,
    ):
        holder.post("/v1/classify", IMAGES["dark"])
        eventually(lambda: server.backend("fake")["queue"]["held"] == 1, "the only place is taken")
        storming = pool.submit(asyncio.run, storm(server, [""] * 200, until_over))
        eventually(lambda: _in_progress(client) > 150, "they wait")
        assert client.post("/v1/classify?backend=tiny", content=IMAGES["dark"]).status_code == 200
        over.set()
        outcomes = storming.result()
        assert outcomes["refused"] == outcomes.total() > 200
        eventually(lambda: _in_progress(client) == 2, "nobody waits any more but for the image that takes the place")


def _in_progress(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("parallax_requests_in_progress "))


def test_a_full_queue_of_one_backend_leaves_the_others_alone(home: Path) -> None:
    with serving(home, **ENDLESS, max_queue=1) as server, Connection(server) as holder, server.client() as client:
        holder.post("/v1/classify?backend=fake", IMAGES["dark"])
        eventually(lambda: server.backend("fake")["queue"]["held"] == 1, "the only place is taken")
        refused = client.post("/v1/classify?backend=fake", content=IMAGES["dark"])
        assert (refused.status_code, problem_of(refused)) == (429, "queue-full")
        assert client.post("/v1/classify?backend=tiny", content=IMAGES["dark"]).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert server.backend("fake")["counters"] == {"answered": 0, "failed": 0, "refused": 1}


def test_a_noisy_caller_leaves_room_for_others(tmp_path: Path) -> None:
    """Ten times the queue from one key, and every request of another key is answered, ahead of most of them."""
    keys = {"noisy": "noisy-key-of-16-characters", "polite": "polite-key-of-16-characters"}
    settings: dict[str, Any] = {
        "fake__labels": ["a", "b"],
        "fake__latency_ms": 5,
        "fake__max_batch_size": 1,
        "max_queue": 18,
        "api_keys": ",".join(f"{name}:{key}" for name, key in keys.items()),
    }
    with serving(tmp_path, **settings) as server, ThreadPoolExecutor(48) as pool:
        over = threading.Event()

        def make_noise(_number: int) -> set[int]:
            seen = set()
            with server.client(headers={"X-API-Key": keys["noisy"]}) as client:
                while not over.is_set():
                    seen.add(client.post("/v1/classify", content=plain(0)).status_code)
            return seen

        noise = [pool.submit(make_noise, number) for number in range(40)]
        with server.client(headers={"X-API-Key": keys["polite"]}) as client:
            eventually(lambda: client.get("/v1/backends/fake").json()["backends"][0]["queue"]["held"] >= 16, "it is crowded")
            polite = [client.post("/v1/classify", content=plain(0)) for _ in range(30)]
        over.set()
        assert set.union(*(future.result() for future in noise)) == {200, 429}
    assert [reply.status_code for reply in polite] == [200] * 30


def test_urgent_images_pass_those_in_the_background(tmp_path: Path) -> None:
    with serving(tmp_path, **ENDLESS | {"fake__latency_ms": 40}) as server, ThreadPoolExecutor(24) as pool:
        order: list[str] = []

        def ask(priority: str) -> None:
            with server.client(headers={"Priority": priority}) as client:
                client.post("/v1/classify", content=plain(0)).raise_for_status()
                order.append(priority)

        waiting = [pool.submit(ask, "u=6") for _ in range(12)]
        eventually(lambda: server.backend("fake")["queue"]["held"] == 12 or len(order) > 0, "they wait")
        waiting += [pool.submit(ask, "u=1") for _ in range(3)]
        for future in waiting:
            future.result()
    assert max(place for place, priority in enumerate(order) if priority == "u=1") < 11, order

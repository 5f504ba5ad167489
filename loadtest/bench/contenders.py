"""The servers that are compared: how each is started, and how it is asked."""

import json
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from loadtest.bench import wire
from loadtest.bench.images import Known, label_pictures
from loadtest.bench.jobs import Request
from loadtest.bench.processes import BenchError, Server, start_server, wait_until
from models.metadata import Variant
from models.repository import StoredModel
from models.runtime import OnnxModel
from service.backends.variants import fastest_first

PARALLAX, PLAIN, FLOOR, CLOUD = "Parallax", "plain FastAPI", "floor", "cloud"
TUNING_S = 300.0
"""How long the service may take to tune itself."""
TUNING_POLL_S = 0.25
UNSETTLED = frozenset({"waiting", "running"})


@dataclass(frozen=True)
class Contender:
    """A server that listens, and the requests for it, one for each image."""

    name: str
    server: Server
    requests: Sequence[Request]


def served_variant(stored: StoredModel) -> Variant:
    """The file that a service with default settings takes on a CPU where nothing was measured yet."""
    return fastest_first(stored.card, {}, "CPUExecutionProvider")[0]


def known_of(stored: StoredModel, files: Sequence[bytes]) -> list[Known]:
    """The images that a service's variant is sure about, with what it says. Raises `BenchError` if there is none."""
    card, variant = stored.card, served_variant(stored)
    known = label_pictures(files, OnnxModel(stored.folder / variant.file, threads=1), card.input, card.labels)
    if not known:
        raise BenchError(f"{card.name} is sure about none of the images; give others with --images")
    return known


@contextmanager
def parallax(store: Path, folder: Path, key: str = "", **settings: object) -> Iterator[Server]:
    """`parallax serve` with default settings on a CPU, tuned. `settings`: lower-case names of `service/settings.py`.

    `key`: an API key for asking how it is, if the settings demand one.

    Raises `BenchError` if it does not listen and settle in time, or does not end well.
    """
    chosen: dict[str, object] = {"port": 0, "models_dir": store, "data_dir": folder / "data", "device": "cpu"} | settings
    named = {
        f"PARALLAX_{name.upper()}": json.dumps(value) if isinstance(value, list | bool) else str(value)
        for name, value in chosen.items()
    }
    server = start_server(PARALLAX, [sys.executable, "-m", "parallax", "serve"], folder, named)
    with _stopped(server):
        url = httpx.URL(str(wait_until(lambda: _logged(server.log, "listening"), server, "said where it listens")["url"]))
        server.port = url.port or 80
        # One client, asked seldom: making one takes a processor for 20 ms, and the service is measuring how fast it is.
        headers = {"X-API-Key": key} if key else {}
        with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=30) as client:
            wait_until(lambda: _settled(client), server, "tuned itself", TUNING_S, TUNING_POLL_S)
        yield server


@contextmanager
def plain(stored: StoredModel, folder: Path) -> Iterator[Server]:
    """The tutorial's server on one version."""
    settings = {"BENCH_MODEL": str(stored.folder.resolve()), "BENCH_FILE": served_variant(stored).file}
    with _uvicorn(PLAIN, "loadtest.bench.plain:app", folder, settings) as server:
        yield server


@contextmanager
def cloud(folder: Path) -> Iterator[Server]:
    """The stand-in for a service in the cloud."""
    with _uvicorn(CLOUD, "loadtest.bench.cloud:app", folder, {}) as server:
        yield server


def start_cloud(folder: Path, port: int) -> Server:
    """The stand-in on a port where it was before, until it is killed. Raises `BenchError`."""
    server = _start_uvicorn(CLOUD, "loadtest.bench.cloud:app", folder, {}, port)
    wait_until(lambda: _accepts(server), server, "accepted a connection")
    return server


@contextmanager
def floor(folder: Path) -> Iterator[Server]:
    """The server that does nothing."""
    with _uvicorn(FLOOR, "loadtest.bench.floor:app", folder, {}) as server:
        yield server


def ask_parallax(backend: str, known: Sequence[Known], **headers: str) -> list[Request]:
    """Requests for `/v1/classify`, the image as the body. A right reply names the image's label first, and its own request."""
    path = f"/v1/classify?backend={backend}"
    return [
        Request(
            wire.post(path, one.data, {"X-Request-Id": str(number)} | headers),
            (_json('"predictions":[{"label":', one.label), _json('"request_id":', str(number))),
        )
        for number, one in enumerate(known)
    ]


def ask_plain(known: Sequence[Known]) -> list[Request]:
    """Requests with the image as a form's file, as `UploadFile` wants it."""
    return [
        Request(
            wire.post_form("/classify", "file", f"{number}.jpg", one.data, {}),
            (_json('"label":', one.label), _json('"filename":', f"{number}.jpg")),
        )
        for number, one in enumerate(known)
    ]


def ask_floor(known: Sequence[Known]) -> list[Request]:
    """The same bytes as Parallax gets."""
    return [replace(request, needles=(b'"floor":true',)) for request in ask_parallax("floor", known)]


def copy_version(stored: StoredModel, store: Path) -> Path:
    """A store with this version alone, so that a server's memory is that of one model. Returns it."""
    shutil.copytree(stored.folder, store / stored.card.name / stored.card.version)
    return store


def _json(before: str, value: str) -> bytes:
    """As both servers write it: starlette's JSON has no blanks, and leaves letters beyond ASCII as they are."""
    return (before + json.dumps(value, ensure_ascii=False)).encode()


@contextmanager
def _uvicorn(name: str, app: str, folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    server = _start_uvicorn(name, app, folder, settings, free_port())
    with _stopped(server):
        wait_until(lambda: _accepts(server), server, "accepted a connection")
        yield server


def _start_uvicorn(name: str, app: str, folder: Path, settings: dict[str, str], port: int) -> Server:
    # uvicorn tells a port that it took itself at level info only, and is to be quiet
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning", "--no-access-log"]
    server = start_server(name, command, folder, settings)
    server.port = port
    return server


@contextmanager
def _stopped(server: Server) -> Iterator[None]:
    try:
        yield
        if not server.running:
            raise server.fail(f"ended by itself with status {server.process.returncode}")
    finally:
        server.stop()


def _logged(log: Path, message: str) -> dict[str, Any] | None:
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("message") == message:
            return record
    return None


def _settled(client: httpx.Client) -> bool:
    backends = client.get("/v1/backends").raise_for_status().json()["backends"]
    failed = next((backend for backend in backends if backend["state"] == "failed"), None)
    if failed:
        raise BenchError(f"Parallax can't serve {failed['name']}: {failed.get('reason')}")
    return not any(backend.get("tuning", {}).get("state") in UNSETTLED for backend in backends)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(server: Server) -> bool:
    try:
        socket.create_connection((server.host, server.port), 1).close()
    except OSError:
        return False
    return True

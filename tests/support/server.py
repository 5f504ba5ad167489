"""The real server, in a process of its own, started as `parallax serve` starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

PATIENCE_S = 30.0
"""A bound on every wait, so that a test of a broken server ends: what is waited for comes much sooner."""

Record = Mapping[str, Any]


@dataclass
class Server:
    """A process that runs `parallax serve`; its log is read as it is written."""

    process: "subprocess.Popen[str]"
    records: list[Record] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return str(self.wait_for("listening")["url"])

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for raw sockets."""
        url = httpx.URL(self.url)
        assert url.port
        return url.host, url.port

    @property
    def text(self) -> str:
        """What it wrote so far, for messages of failed tests."""
        return "\n".join(map(json.dumps, self.records))

    @property
    def complaints(self) -> list[Record]:
        """What should not be in the log of a healthy server: errors, and lines that are no JSON, such as tracebacks."""
        return [record for record in self.records if record.get("level") in (None, "ERROR", "CRITICAL")]

    def client(self, **options: Any) -> httpx.Client:  # noqa: ANN401  # as httpx types them
        """A client of this server, which no proxy setting of the machine diverts."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENCE_S, **options)

    def metric(self, name: str, **labels: str) -> float:
        """A sample of `/metrics`; 0 if nothing was counted under these labels yet."""
        with self.client() as client:
            text = client.get("/metrics").raise_for_status().text
        return sample(text, name, **labels)

    def backend(self, name: str) -> Record:
        """What `/v1/backends` says of the version of a backend that answers."""
        with self.client() as client:
            found: Record = client.get(f"/v1/backends/{name}").raise_for_status().json()["backends"][0]
        return found

    def wait_for(self, message: str) -> Record:
        """The first record with this message, as soon as it is written."""
        with self._news:
            self._news.wait_for(lambda: self._ended or self._find(message) is not None, PATIENCE_S)
            found = self._find(message)
        assert found is not None, f"the server never logged {message!r}:\n{self.text}"
        return found

    def send_signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to stop."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end. Returns its exit status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    def _find(self, message: str) -> Record | None:
        return next((record for record in self.records if record.get("message") == message), None)

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                with self._news:
                    self.records.append(_parse(line))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Server]:
    """Start a server that may end by itself; whatever happens, it is gone after the block.

    `folder`: it runs there, so that no `.env` of a developer is read. `settings`: lower-case names of `service/settings.py`, such
    as `max_queue=8` or `fake__labels=["a", "b"]`; no other setting reaches it.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PARALLAX_", "OTEL_"))}
    chosen: dict[str, object] = {"port": 0, "models_dir": folder / "store", "data_dir": folder / "data"} | settings
    for name, value in chosen.items():
        env[f"PARALLAX_{name.upper()}"] = json.dumps(value) if isinstance(value, list | bool) else str(value)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "parallax", "serve"]
    process = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    server = Server(process)
    try:
        yield server
    finally:
        process.kill()
        server.wait()


@contextmanager
def serving(folder: Path, *, clean: bool = True, **settings: object) -> Iterator[Server]:
    """Start a server that listens when the block begins. At its end it must stop well on SIGTERM, and `clean` of complaints."""
    with running(folder, **settings) as server:
        server.wait_for("listening")
        yield server
        assert server.process.poll() is None, f"it ended before it was told to:\n{server.text}"
        server.send_signal()
        status = server.wait()
        assert status == 0, f"exit status {status}:\n{server.text}"
        assert not (clean and server.complaints), f"complaints in the log: {server.complaints}"


class Connection:
    """One connection, byte by byte."""

    def __init__(self, server: Server) -> None:
        """Open it."""
        self.socket = socket.create_connection(server.address, PATIENCE_S)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send just these bytes."""
        self.socket.sendall(data)

    def post(self, path: str, body: bytes, *, length: int | None = None, headers: str = "") -> None:
        """Send a request, whose body may be shorter than the `length` that it states. `headers` end with CRLF each."""
        size = len(body) if length is None else length
        self.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body)

    def reply(self) -> httpx.Response:
        """Read one reply."""
        status = self._file.readline().split()
        assert status, "the server closed the connection without a reply"
        headers: list[tuple[str, str]] = []
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers.append((name, value))
        size = next(int(value) for name, value in headers if name == "content-length")
        return httpx.Response(int(status[1]), headers=headers, content=self._file.read(size))

    def closed(self) -> bool:
        """Whether the server's next word is its goodbye; waits for it."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def eventually(condition: Callable[[], object], what: str) -> None:
    """Return as soon as a condition holds. It is asked without a pause, so it should take its time, as a request does."""
    limit = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit, f"never came true: {what}"


def sample(text: str, name: str, **labels: str) -> float:
    """A value out of Prometheus' text format; 0 if it is not there."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return next((found.value for found in samples if found.name == name and found.labels == labels), 0.0)


def problem_of(response: httpx.Response) -> str:
    """The code of a problem, which must have the form that every problem has (RFC 9457)."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:parallax:problem:{body['code']}"
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["detail"]
    return str(body["code"])


def _parse(line: str) -> Record:
    try:
        record = json.loads(line)
    except ValueError:
        return {"text": line.rstrip("\n")}
    return record if isinstance(record, dict) else {"text": line.rstrip("\n")}

"""A stand-in for an online endpoint of Azure ML that serves an AutoML image classifier: a real HTTP server on loopback."""

import base64
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from models import imaging
from tests.support.server import PATIENCE_S

KEY = "the-key-of-the-endpoint"
LABELS = ("dark", "grey", "bright")


@dataclass(frozen=True)
class Reply:
    """What to answer instead of probabilities."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    until: threading.Event | None = None
    """Answer only then."""


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def image(self) -> bytes:
        """The file that was sent."""
        (data,) = self.body["input_data"]["data"]
        return base64.b64decode(data, validate=True)


class Endpoint:
    """Answers by the brightness of the image: the darker, the earlier the label. What is in `script` comes first."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.script: deque[Reply] = deque()
        self.always: Reply | None = None
        self.asked: list[Asked] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it scores."""
        return f"http://127.0.0.1:{self.port}/score"

    def answer(self, asked: Asked) -> Reply:
        """Note what was asked, and find the reply."""
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {KEY}":
            return Reply(401, '{"error": {"code": "UserError", "message": "key_auth_bad_header_forbidden"}}')
        if self.script:
            return self.script.popleft()
        if self.always is not None:
            return self.always
        return self.scored(asked.image)

    def scored(self, image: bytes) -> Reply:
        """The reply of a model."""
        place = float(np.mean(imaging.decode(image))) / 255 * (len(self.labels) - 1)
        weights = np.exp(-((np.arange(len(self.labels)) - place) ** 2) * 4)
        probs = (weights / weights.sum()).tolist()
        row = {"filename": "/tmp/x", "probs": probs, "labels": self.labels, "visualizations": None, "attributions": None}
        return Reply(body=json.dumps([row]))


@contextmanager
def endpoint(labels: Sequence[str] = LABELS, port: int = 0) -> Iterator[Endpoint]:
    """Serve one for the length of a block; a reply that is held back is let go at its end."""
    found = Endpoint(labels)
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE_S

        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = found.answer(Asked(self.path, headers, json.loads(body)))
            while reply.until is not None and not reply.until.wait(0.01) and not closing.is_set():
                pass
            data = reply.body.encode()
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # who asked has left
                self.close_connection = True

        def log_message(self, *_args: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", port), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)

"""Models out of Blob Storage, from a server that answers as Blob Storage does."""

import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from models import blobs
from models.blobs import Container, fetch
from models.errors import BrokenModel, UsageError
from models.repository import Repository
from tests.support.models import tiny_model

PAGE = 3
"""Names in one answer, so that there are several."""


@dataclass
class Storage:
    """A container named `models`, and the identity service beside it."""

    folder: Path
    url: str = ""
    seen: list[str] = field(default_factory=list)
    wanted: str = ""
    """The Authorization header, or the signature, without which nothing is read."""
    fail: list[int] = field(default_factory=list)
    """Statuses to answer with before anything else."""

    def answer(self, path: str, query: dict[str, list[str]], headers: Message) -> tuple[int, bytes]:
        if self.fail:
            return self.fail.pop(), b""
        if self.wanted and self.wanted not in (headers.get("Authorization"), query.get("sig", [""])[0]):
            return 403, b""
        names = sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())
        if query.get("comp") == ["list"]:
            names = [name for name in names if name.startswith(query.get("prefix", [""])[0])]
            start = int(query.get("marker", ["0"])[0])
            blobs_xml = "".join(f"<Blob><Name>{escape(name)}</Name></Blob>" for name in names[start : start + PAGE])
            more = str(start + PAGE) if start + PAGE < len(names) else ""
            text = f"<EnumerationResults><Blobs>{blobs_xml}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>"
            return 200, text.encode()
        name = path.removeprefix("/models/")
        return (200, (self.folder / name).read_bytes()) if name in names else (404, b"")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(tmp_path / "container")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            made.seen.append(self.path)
            self._reply(*made.answer(unquote(parts.path), parse_qs(parts.query), self.headers))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            made.seen.append(self.path)
            good = form["client_assertion"] == ["the pod's token"] and form["client_id"] == ["the-identity"]
            self._reply(200 if good else 401, b'{"access_token": "t0ken"}')

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as its parent names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(blobs, "PAUSE_S", 0.0)


def brought(
    storage: Storage, store: Path, where: str = "/models", names: Sequence[str] = (), versions: int = 1
) -> list[tuple[str, bool]]:
    found = fetch(storage.url + where, Repository(store), names=names, versions=versions)
    return [(f"{stored.card.name}/{stored.card.version}", new) for stored, new in found]


def test_the_newest_version_of_each_model_comes_whole_and_once(storage: Storage, tmp_path: Path) -> None:
    for name in ("tiny", "tiny", "other"):
        tiny_model(storage.folder, name)
    (storage.folder / "half" / "1").mkdir(parents=True)
    (storage.folder / "half" / "1" / "model.onnx").write_bytes(b"without its card")
    (storage.folder / "notes.txt").write_text("no model")
    store = tmp_path / "store"
    assert brought(storage, store) == [("other/1", True), ("tiny/2", True)]
    assert brought(storage, store) == [("other/1", False), ("tiny/2", False)]
    assert sorted(path.name for path in store.iterdir()) == ["other", "tiny"], "nothing of the workspace is left"
    for stored in Repository(store).scan().models:
        stored.verify()
        assert {path.name for path in stored.folder.iterdir()} == {"CARD.md", "golden.npz", "model.json", "model.onnx"}
    assert brought(storage, store, versions=2, names=["tiny"]) == [("tiny/2", False), ("tiny/1", True)]


def test_a_prefix_is_a_folder(storage: Storage, tmp_path: Path) -> None:
    tiny_model(storage.folder / "prod" / "eu")
    tiny_model(storage.folder / "prod-old")
    assert brought(storage, tmp_path / "store", "/models/prod/eu/") == [("tiny/1", True)]
    with pytest.raises(UsageError, match="holds no model"):
        brought(storage, tmp_path / "store", "/models/prod")


def test_an_altered_file_never_appears_in_the_store(storage: Storage, tmp_path: Path) -> None:
    stored = tiny_model(storage.folder)
    (stored.folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(BrokenModel, match="SHA-256 differs"):
        brought(storage, tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


def test_a_version_that_is_another_is_refused(storage: Storage, tmp_path: Path) -> None:
    tiny_model(storage.folder)
    tiny_model(tmp_path / "store", sharpness=5)
    with pytest.raises(BrokenModel, match="never replaced"):
        brought(storage, tmp_path / "store")


def test_an_unknown_name_says_what_there_is(storage: Storage, tmp_path: Path) -> None:
    tiny_model(storage.folder)
    with pytest.raises(UsageError, match="holds no big; it has tiny"):
        brought(storage, tmp_path / "store", names=["big"])


def test_busy_storage_is_asked_again_and_a_refusal_is_not(storage: Storage, tmp_path: Path) -> None:
    tiny_model(storage.folder)
    storage.fail = [503, 500, 429]
    assert brought(storage, tmp_path / "store") == [("tiny/1", True)]
    storage.seen.clear()
    storage.fail = [403]
    with pytest.raises(UsageError, match="answered 403; give the identity the role Storage Blob Data Reader"):
        brought(storage, tmp_path / "store")
    assert len(storage.seen) == 1


def test_a_signature_reads_and_is_never_told(storage: Storage, tmp_path: Path) -> None:
    tiny_model(storage.folder)
    storage.wanted = "s3cret"
    assert brought(storage, tmp_path / "store", "/models?sv=2023&sig=s3cret") == [("tiny/1", True)]
    storage.wanted = "another"
    with pytest.raises(UsageError) as caught:
        brought(storage, tmp_path / "store", "/models?sv=2023&sig=s3cret")
    assert "s3cret" not in str(caught.value)


def test_storage_that_is_not_there_is_told_without_the_signature(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UsageError, match="can't be read: ConnectError") as caught:
        list(fetch(f"http://127.0.0.1:{port}/models?sv=2023&sig=s3cret", Repository(tmp_path / "store")))
    assert "s3cret" not in str(caught.value) + str(caught.value.__cause__)


def test_workload_identity_reads(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model(storage.folder)
    storage.wanted = "Bearer t0ken"
    token = tmp_path / "token"
    token.write_text("the pod's token")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    monkeypatch.setenv("AZURE_TENANT_ID", "a-tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "the-identity")
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{storage.url}/")
    assert brought(storage, tmp_path / "store") == [("tiny/1", True)]
    assert storage.seen[0] == "/a-tenant/oauth2/v2.0/token"
    monkeypatch.setenv("AZURE_CLIENT_ID", "somebody-else")
    with pytest.raises(UsageError, match="gave no token to the identity somebody-else"):
        brought(storage, tmp_path / "store")


@pytest.mark.parametrize(
    "address",
    ["", "models", "http://account.blob.core.windows.net/models", "https://account.blob.core.windows.net", "https://u:p@host/c"],
)
def test_what_is_no_container_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is wanted"):
        Container.at(address)

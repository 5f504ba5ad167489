"""Data sets from far away: fetched once from a real server, refused in words."""

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

from models.datasets import open_dataset
from models.errors import DatasetError
from models.sources import local, resolve
from tests.support.images import labelled, write_zip


class Site:
    """A web site on this machine: `pages` by path, and the paths that were asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[str] = []
        self.cut = False
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                path = self.path.partition("?")[0]
                if path in site.moved:
                    self.send_response(302)
                    self.send_header("Location", site.moved[path])
                    self.end_headers()
                elif path in site.pages:
                    body = site.pages[path]
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: len(body) // 2] if site.cut else body)
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the parent names it
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site()
    thread = Thread(target=site.server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


@pytest.fixture
def scenes(tmp_path: Path) -> bytes:
    return write_zip(tmp_path / "scenes.zip", labelled({"dark": 1, "bright": 1})).read_bytes()


def downloaded(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_an_address_is_fetched_once_and_used_again(site: Site, scenes: bytes, tmp_path: Path) -> None:
    site.pages["/data/scenes.zip"] = scenes
    first = resolve(f"{site.address}/data/scenes.zip", tmp_path / "downloads")
    assert Path(first).read_bytes() == scenes
    with open_dataset(first) as dataset:
        assert (dataset.name, dataset.labels) == ("scenes.zip", ["bright", "dark"])
    assert resolve(f"{site.address}/data/scenes.zip", tmp_path / "downloads") == first
    assert site.asked == ["/data/scenes.zip"]
    assert downloaded(tmp_path / "downloads") == ["scenes.zip"]


def test_a_split_is_kept(site: Site, scenes: bytes, tmp_path: Path) -> None:
    site.pages["/scenes.zip"] = scenes
    path = resolve(f"{site.address}/scenes.zip#seg_test", tmp_path)
    assert path.endswith("scenes.zip#seg_test")
    assert site.asked == ["/scenes.zip"]


def test_what_a_command_names_is_brought_to_the_folder_for_downloads(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    site.pages["/scenes.zip"] = b"data"
    here, fetched = local(["photos", f"{site.address}/scenes.zip"])
    assert here == "photos"
    assert Path(fetched).is_relative_to(tmp_path / "data" / "downloads")
    assert Path(fetched).read_bytes() == b"data"


def test_two_addresses_of_one_name_are_two_files(site: Site, tmp_path: Path) -> None:
    site.pages |= {"/a/data.zip": b"a", "/b/data.zip": b"b"}
    paths = [resolve(f"{site.address}/{folder}/data.zip", tmp_path) for folder in "ab"]
    assert [Path(path).read_bytes() for path in paths] == [b"a", b"b"]
    queries = [resolve(f"{site.address}/a/data.zip?part={number}", tmp_path) for number in (1, 2)]
    assert len({*paths, *queries}) == 4


@pytest.mark.parametrize("path", ["/", "/a/%2e%2e%2f%2e%2e%2fevil", "/a/..evil"])
def test_an_address_whose_end_is_no_name_still_stays_in_its_folder(site: Site, tmp_path: Path, path: str) -> None:
    site.pages[path] = b"data"
    file = Path(resolve(f"{site.address}{path}", tmp_path / "downloads"))
    assert file.read_bytes() == b"data"
    assert file.resolve().is_relative_to((tmp_path / "downloads").resolve())


def test_an_address_that_has_moved_is_followed(site: Site, tmp_path: Path) -> None:
    site.moved["/old.zip"] = "/new.zip"
    site.pages["/new.zip"] = b"data"
    assert Path(resolve(f"{site.address}/old.zip", tmp_path)).read_bytes() == b"data"
    assert site.asked == ["/old.zip", "/new.zip"]


def test_an_address_that_has_nothing_is_said_so(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"/nowhere\.zip can't be downloaded: .*404"):
        resolve(f"{site.address}/nowhere.zip", tmp_path)
    assert downloaded(tmp_path) == []


def test_half_a_download_is_never_used(site: Site, tmp_path: Path) -> None:
    site.pages["/scenes.zip"] = bytes(100_000)
    site.cut = True
    with pytest.raises(DatasetError, match="can't be downloaded"):
        resolve(f"{site.address}/scenes.zip", tmp_path)
    assert "scenes.zip" not in downloaded(tmp_path)
    site.cut = False
    assert Path(resolve(f"{site.address}/scenes.zip", tmp_path)).stat().st_size == 100_000
    assert downloaded(tmp_path) == ["scenes.zip"]


def test_a_server_that_is_not_there_is_said_so(site: Site, tmp_path: Path) -> None:
    address = site.address
    site.server.server_close()
    with pytest.raises(DatasetError, match="can't be downloaded"):
        resolve(f"{address}/scenes.zip", tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http:///data.zip",
        "https://[::1/data.zip",
        "http://127.0.0.1:99999/data.zip",
        "http://[x]/data.zip",
        "http://a:b/c.zip",
    ],
)
def test_an_address_that_is_none_is_said_so(address: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        resolve(address, tmp_path)


@pytest.mark.parametrize(
    "source", ["data/scenes.zip", "data/scenes#seg_test", "C:\\scenes.zip", "", "ftp://host/scenes.zip", "part*.zip"]
)
def test_anything_else_is_returned_as_it_is(source: str, tmp_path: Path) -> None:
    assert resolve(source, tmp_path) == source
    assert list(tmp_path.iterdir()) == []


def kagglehub(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> list[str]:
    """Stand in for the library, which needs an account and the network. Returns the handles that it will be asked for."""
    asked: list[str] = []
    module = ModuleType("kagglehub")

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        if folder is None:
            raise RuntimeError("403 Client Error")
        return str(folder)

    module.__dict__["dataset_download"] = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_kaggle_s_name_becomes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = kagglehub(monkeypatch, tmp_path / "cache")
    assert resolve("kaggle:puneet6060/intel-image-classification#seg_train", tmp_path) == f"{tmp_path / 'cache'}#seg_train"
    assert asked == ["puneet6060/intel-image-classification"]


def test_kaggle_s_refusal_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kagglehub(monkeypatch, None)
    with pytest.raises(DatasetError, match="kaggle:a/b can't be downloaded: 403 Client Error"):
        resolve("kaggle:a/b", tmp_path)


def test_without_kagglehub_the_line_to_type_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DatasetError, match="make train-env EXTRAS=kaggle"):
        resolve("kaggle:a/b", tmp_path)

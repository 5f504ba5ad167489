"""The image for CPUs: built from a clean tree, and run without any right that it does not need."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models import __version__
from models.workspace import CHECKOUT
from tests.support import containers
from tests.support.containers import Container, Image
from tests.support.server import Connection, eventually

KEY = "a-key-of-the-test"
SEA = CHECKOUT / "docs" / "samples" / "sea.jpg"
MAX_BYTES = 900e6
READY_S = 5.0


@contextmanager
def serving(image: Image, folder: Path) -> Iterator[Container]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"PARALLAX_HOST": "127.0.0.1", "PARALLAX_PORT": str(port), "PARALLAX_API_KEYS": f"test:{KEY}"}
    with image.running(folder / "data", **settings) as container:
        yield container


def test_it_says_what_it_is_and_how_it_is_run(image: Image) -> None:
    config = image.config
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"]) == (["parallax"], ["serve"]), "in exec form: no shell stands before the service"
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert list(config["Volumes"]) == ["/data"]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "org.opencontainers.image.revision" in config["Labels"]


def test_it_is_small_and_holds_nothing_that_only_builds_or_trains(image: Image) -> None:
    files = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    print(f"serve-cpu: {size / 1e6:.0f} MB unpacked")
    assert size < MAX_BYTES
    packages = {path.name.lower() for path in image.root.glob("opt/venv/lib/python3*/site-packages/*")}
    assert {"onnxruntime", "fastapi", "parallax.pth"} <= packages
    assert not packages & {"tensorflow", "keras", "torch", "mlflow", "optuna", "pip", "setuptools", "wheel"}
    names = {path.name for path in files}
    assert not names & {"gcc", "cc", "make", "pip.conf", "image_venv.sh", ".env", "efficientnet_lite0.npz"}
    assert not list(image.root.glob("root/.cache/pip/*"))
    assert not list((image.root / "app").glob("requirements*"))
    assert (image.root / "models" / "cnn" / "1" / "model.json").is_file()


def test_its_user_can_change_nothing_but_its_data(image: Image) -> None:
    user = int(image.config["User"].partition(":")[0])
    for top in ("app", "models", "opt"):
        for path in (image.root / top).rglob("*"):
            facts = path.lstat()
            assert facts.st_uid != user, path
            assert path.is_symlink() or not facts.st_mode & 0o022, path
            assert path.is_symlink() or facts.st_mode & 0o004, path
    assert (image.root / "data").stat().st_uid == user


def test_it_starts_quickly_and_classifies_without_any_rights(image: Image, tmp_path: Path) -> None:
    began = time.monotonic()
    with serving(image, tmp_path) as container:
        server = container.server
        with server.client(headers={"X-API-Key": KEY}) as client:
            eventually(lambda: client.get("/readyz").status_code == 200, "it is ready")
            took, worked = time.monotonic() - began, container.cpu_seconds
            print(f"ready after {took:.1f} s, of which it worked {worked:.1f} s")
            # On a quiet machine both are the same. Of the two this one tells of the image, and not of who else is at work.
            assert worked < READY_S
            reply = client.post("/v1/classify", content=SEA.read_bytes()).raise_for_status().json()
            assert (reply["backend"], reply["predictions"][0]["label"]) == ("cnn", "sea")
            assert client.post("/v1/classify", content=SEA.read_bytes(), headers={"X-API-Key": "wrong"}).status_code == 401
        status = container.execute("cat", "/proc/1/status").stdout
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Name"] == "parallax"
        assert facts["Uid"].split() == ["10001"] * 4
        assert {facts[kind] for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {"0" * 16}
        assert facts["NoNewPrivs"] == "1"
        assert "Read-only file system" in container.execute("touch", "/app/new").stderr
        assert container.execute(*image.config["Healthcheck"]["Test"][1:]).returncode == 0
        assert "cnn/1" in container.execute("parallax", "models", "list").stdout
        server.send_signal()
        assert server.wait() == 0
        assert server.complaints == []


def test_on_sigterm_a_request_in_flight_is_answered(image: Image, tmp_path: Path) -> None:
    body = SEA.read_bytes()
    with serving(image, tmp_path) as container, Connection(container.server) as uploading:
        uploading.post("/v1/classify", body[:100], length=len(body), headers=f"X-API-Key: {KEY}\r\n")
        with container.server.client(headers={"X-API-Key": KEY}) as client:
            eventually(lambda: "parallax_requests_in_progress 2.0" in client.get("/metrics").text, "the upload has begun")
        container.server.send_signal()
        container.server.wait_for("stopping")
        uploading.send(body[100:])
        reply = uploading.reply()
        assert (reply.status_code, reply.json()["predictions"][0]["label"]) == (200, "sea")
        assert container.server.wait() == 0


def test_it_does_not_serve_everybody_unless_told_to(image: Image, tmp_path: Path) -> None:
    with image.running(tmp_path / "data") as container:
        assert container.server.wait() == 2
        assert "no API key guards the service" in container.server.text


def test_the_same_tree_makes_the_same_layers(image: Image) -> None:
    with containers.built("serve", name="localhost/parallax-test-again", cached=False):
        again = containers.layers("localhost/parallax-test-again")
    assert len(again) > 3
    assert again == containers.layers(image.name)[: len(again)]
    entry = next(line for line in (image.root / "etc" / "shadow").read_text().splitlines() if line.startswith("parallax:"))
    assert entry.split(":")[2] == "", "the day of the build: tomorrow's layers would be others"


@pytest.mark.parametrize("name", ["PARALLAX_MODELS_DIR", "PARALLAX_DATA_DIR"])
def test_its_folders_are_where_the_design_has_them(image: Image, name: str) -> None:
    assert image.env[name] == {"PARALLAX_MODELS_DIR": "/models", "PARALLAX_DATA_DIR": "/data"}[name]
    assert os.path.isdir(f"{image.root}{image.env[name]}")  # noqa: PTH112  # joined as text: both are absolute

"""The page's files over HTTP, and the routes that it brought: prices, versions, chosen rows."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.workspace import CHECKOUT
from service.api.page import WEB
from tests.api.conftest import LABELS
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, problem_of, serving

FILES = sorted(f"/web/{path.relative_to(WEB)}" for path in WEB.rglob("*.*") if path.is_file() and "docs" not in path.parts)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose newest version is broken, one that answers otherwise, one that we trained; and a set."""
    folder = tmp_path_factory.mktemp("page")
    for _ in range(2):
        tiny_model(folder / "store", "one", labels=LABELS)
    (folder / "store" / "one" / "3").mkdir()
    (folder / "store" / "one" / "3" / "model.json").write_text("{}")
    tiny_model(folder / "store", "two", labels=LABELS, sharpness=-1.0)
    shutil.copytree(CHECKOUT / "models" / "store" / "cnn", folder / "store" / "cnn")
    write_folder(folder / "sets" / "good", labelled(dict.fromkeys(LABELS, 4)))
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with serving(home, datasets_dir=home / "sets", fake__labels=LABELS, usd_per_hour=0.5) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def job(server: Server) -> str:
    with server.client() as client:
        made: str = client.post("/v1/scorings", json={"dataset": "good", "backends": ["one", "two"]}).json()["id"]
        eventually(lambda: client.get("/v1/scorings?limit=1").json()["scorings"][0]["state"] == "succeeded", "the job ended")
    return made


def rows(client: httpx.Client, job: str, **query: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    reply = client.get(f"/v1/scorings/{job}/predictions", params=query).raise_for_status()
    return [json.loads(line) for line in reply.text.splitlines()]


def test_every_file_is_sent_under_a_policy_without_exceptions(client: httpx.Client) -> None:
    assert {"/web/js/main.js", "/web/css/base.css", "/web/index.html", "/web/samples/sea.jpg"} <= set(FILES)
    for path in ["/", "/web/plotly/plotly-basic.min.js", *FILES]:
        reply = client.get(path).raise_for_status()
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": reply.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path


def test_every_file_that_the_page_names_is_there(client: httpx.Client) -> None:
    named = re.findall(r'(?:href|src)="(/web/[^"]+)"', client.get("/").text)
    assert len(named) > 8
    for path in FILES:
        if path.endswith(".js"):
            named += [
                str(httpx.URL(path).join(one)) for one in re.findall(r'(?:from|import\()\s*"(\.[^"]+)"', client.get(path).text)
            ]
    assert set(named) <= set(FILES)
    scripts = {path for path in FILES if path.endswith(".js")}
    assert scripts <= {*named, "/web/js/main.js"}, "no script is left over"


@pytest.mark.parametrize("path", ["/web/../settings.py", "/web/%2e%2e/settings.py", "/web/nothing.js", "/web/"])
def test_no_other_file_can_be_had(client: httpx.Client, path: str) -> None:
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())  # as it stands: httpx would tidy it
    assert client.send(request).status_code == 404


def test_the_files_need_no_key_and_what_they_ask_for_does(home: Path, tmp_path: Path) -> None:
    with serving(home, data_dir=tmp_path, api_keys="tests:a key of a tester") as server, server.client() as client:
        for path in ("/", "/web/js/main.js", "/web/plotly/plotly-basic.min.js"):
            assert client.get(path).status_code == 200
        for path in ("/v1/backends", "/v1/backends/one/versions", "/v1/datasets", "/v1/scorings", "/v1/web/"):
            assert client.get(path).status_code == 401, path


def test_the_samples_are_those_of_the_documentation() -> None:
    shown = {path.name: path.read_bytes() for path in (WEB / "samples").iterdir()}
    assert shown == {path.name: path.read_bytes() for path in (CHECKOUT / "docs" / "samples").iterdir()}


def test_backends_tell_what_an_hour_of_theirs_costs(client: httpx.Client) -> None:
    prices = {one["name"]: one.get("price") for one in client.get("/v1/backends").json()["backends"] if one["state"] == "ready"}
    hour = {"basis": "hour", "usd": 0.5, "source": "PARALLAX_USD_PER_HOUR"}
    assert prices == {"cnn": hour, "fake": None, "one": hour, "two": hour}
    assert client.get("/v1/backends/one").json()["backends"][0]["price"] == hour


def test_versions_are_listed_newest_first_with_what_is_known_of_them(client: httpx.Client) -> None:
    found = client.get("/v1/backends/one/versions").raise_for_status().json()["versions"]
    assert [(one["version"], one["state"]) for one in found] == [("3", "broken"), ("2", "serving"), ("1", "stored")]
    assert "can't be read" in found[0]["reason"]
    assert found[1]["reason"] is None
    assert found[1]["recipe"] is None, "it was not trained by us"
    assert found[1]["variants"] == [{"precision": "fp32", "size_bytes": None, "test_accuracy": None}]
    (fake,) = client.get("/v1/backends/fake/versions").json()["versions"]
    assert (fake["version"], fake["state"], fake["variants"]) == ("1", "serving", [])
    assert problem_of(client.get("/v1/backends/nobody/versions")) == "unknown-backend"


def test_versions_of_the_store_tell_how_they_were_trained(client: httpx.Client) -> None:
    (found,) = client.get("/v1/backends/cnn/versions").json()["versions"]
    card = json.loads((CHECKOUT / "models" / "store" / "cnn" / "1" / "model.json").read_text())
    assert (found["recipe"], found["minutes"], found["usd"]) == ("cnn", card["training"]["minutes"], card["training"]["usd"])
    assert found["validation"] == card["training"]["validation"]
    assert found["variants"][0]["test_accuracy"] == card["tests"][0]["accuracy"]["fp32"]


def test_rows_can_be_chosen_by_backend_label_and_answer(client: httpx.Client, job: str) -> None:
    every = rows(client, job)
    assert len(every) == 24
    for query in ({"backend": "two"}, {"label": "dark"}, {"backend": "two", "label": "dark", "predicted": "bright"}):
        wanted = [row for row in every if query.items() <= row.items()]
        assert 0 < len(wanted) < 24
        assert rows(client, job, **query) == wanted
    assert rows(client, job, limit=5) == every[:5]
    assert rows(client, job, limit=5, backend="two") == [row for row in every if row["backend"] == "two"][:5]
    assert rows(client, job, label="nobody's") == []
    assert problem_of(client.get(f"/v1/scorings/{job}/predictions?limit=0")) == "bad-parameter"

"""New versions while the service runs: seen in the store, or asked for; no request is lost to them."""

import shutil
import threading
from pathlib import Path

from tests.api.conftest import LABELS
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, problem_of, serving


def version(server: Server) -> str:
    return str(server.backend("tiny")["version"])


def corrupt(home: Path) -> None:
    stored = tiny_model(home / "store", labels=LABELS)
    with (stored.folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    (stored.folder / "model.json").touch()


def test_a_new_version_in_the_store_takes_over_by_itself(home: Path) -> None:
    with serving(home, poll_s=0.05) as server:
        assert version(server) == "1"
        tiny_model(home / "store", labels=LABELS)
        eventually(lambda: version(server) == "2", "version 2 is served")
        shutil.rmtree(home / "store" / "tiny" / "2")
        eventually(lambda: version(server) == "1", "taking it back brings version 1 back")


def test_a_model_of_a_new_name_is_served_without_a_restart(home: Path) -> None:
    with serving(home, poll_s=0.05) as server, server.client() as client:
        tiny_model(home / "store", "other", labels=LABELS)
        eventually(lambda: client.get("/v1/backends/other").status_code == 200, "it is there")
        assert client.post("/v1/classify?backend=other", content=plain(255)).json()["predictions"][0]["label"] == "bright"


def test_a_broken_version_is_refused_with_the_reason_and_the_old_one_serves_on(home: Path) -> None:
    with serving(home, poll_s=3600) as server, server.client() as client:
        corrupt(home)
        refused = client.post("/v1/backends/tiny/reload")
        assert (refused.status_code, problem_of(refused)) == (409, "reload-refused")
        assert "SHA-256 differs" in refused.json()["detail"]
        assert "Version 1 serves" in refused.json()["detail"]
        shown = client.get("/v1/backends/tiny").json()["backends"]
        assert [(one["version"], one["state"]) for one in shown] == [("1", "ready"), ("2", "failed")]
        assert "SHA-256 differs" in shown[1]["reason"]
        assert client.post("/v1/classify", content=plain(0)).json()["version"] == "1"
        tiny_model(home / "store", labels=LABELS)
        mended = client.post("/v1/backends/tiny/reload").raise_for_status().json()["backends"]
        assert [(one["version"], one["state"]) for one in mended] == [("3", "ready")]


def test_reloading_what_has_not_changed_keeps_its_counters(home: Path) -> None:
    with serving(home) as server, server.client() as client:
        client.post("/v1/classify", content=plain(0)).raise_for_status()
        again = client.post("/v1/backends/tiny/reload").raise_for_status().json()["backends"][0]
        assert again["counters"]["answered"] == 1


def test_a_name_that_nobody_knows_can_not_be_reloaded(home: Path) -> None:
    with serving(home) as server, server.client() as client:
        assert problem_of(client.post("/v1/backends/none/reload")) == "unknown-backend"
        assert client.get("/v1/backends/tiny/reload").status_code == 405


def test_no_request_is_lost_while_versions_change_under_load(home: Path) -> None:
    with serving(home, poll_s=3600) as server, server.client() as client:
        over = threading.Event()
        replies: list[tuple[int, str, str]] = []

        def ask(level: int) -> None:
            with server.client() as own:
                while not over.is_set():
                    reply = own.post("/v1/classify", content=plain(level))
                    body = reply.json()
                    replies.append((reply.status_code, body["predictions"][0]["label"], body["version"]))

        threads = [threading.Thread(target=ask, args=(level,)) for level in (0, 128, 255, 0)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            tiny_model(home / "store", labels=LABELS)
            client.post("/v1/backends/tiny/reload").raise_for_status()
            eventually(lambda number=number: replies and replies[-1][2] == str(number), "the new one answers")  # type: ignore[misc]
        over.set()
        for thread in threads:
            thread.join()
        assert {status for status, _, _ in replies} == {200}
        assert {label for _, label, _ in replies} == {"dark", "grey", "bright"}
        assert {seen for _, _, seen in replies} >= {str(number) for number in range(2, 8)}
        eventually(lambda: "parallax_queue_requests" in client.get("/metrics").text, "metrics are there")
        text = client.get("/metrics").text
        assert text.count('parallax_backend_provider_info{backend="tiny"') == 1, "what is served no longer is forgotten"


def test_a_plan_is_measured_while_nobody_asks_and_kept_for_the_next_start(home: Path) -> None:
    with serving(home) as server:
        tuning = server.backend("tiny")["tuning"]
        assert tuning["state"] in ("waiting", "running", "tuned")
        eventually(lambda: server.backend("tiny")["tuning"]["state"] == "tuned", "it is measured")
        measured = server.backend("tiny")
        assert measured["tuning"]["source"] == "measured"
        assert measured["tuning"]["measured"]
    assert list((home / "data" / "plans").glob("*.json"))
    with serving(home) as server:
        kept = server.backend("tiny")
        assert (kept["tuning"]["state"], kept["tuning"]["source"]) == ("tuned", "kept")
        assert kept["plan"] == measured["plan"]


def test_a_plan_that_is_set_holds_and_nothing_is_measured(home: Path) -> None:
    with serving(home, plans='{"*": {"batch_size": 3, "lanes": 2, "threads": 1}}') as server:
        shown = server.backend("tiny")
        assert shown["plan"] == {"batch_size": 3, "lanes": 2, "threads": 1}
        assert shown["tuning"]["state"] == "off"
        with server.client() as client:
            assert client.post("/v1/classify", content=plain(0)).status_code == 200

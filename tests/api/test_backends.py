"""`GET /v1/backends`: what is served, what is not, and how it does."""

from collections.abc import Sequence
from pathlib import Path

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

from models.metadata import INPUT_NAME, OUTPUT_NAME
from tests.api.conftest import LABELS
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import problem_of, serving


def test_everything_that_is_served_is_listed_newest_first(client: httpx.Client) -> None:
    body = client.get("/v1/backends").json()
    assert body["default"] == "fake"
    assert [(one["name"], one["version"], one["kind"], one["state"]) for one in body["backends"]] == [
        ("fake", "1", "fake", "ready"),
        ("tiny", "3", "onnx", "ready"),
        ("tiny", "2", "onnx", "ready"),
    ]
    assert [one["default"] for one in body["backends"]] == [True, False, False]
    tiny = body["backends"][1]
    assert (tiny["precision"], tiny["provider"], tiny["labels"]) == ("fp32", "CPUExecutionProvider", LABELS)
    assert tiny["input"] == {"height": 32, "width": 32, "resize": "bilinear"}
    assert set(tiny["plan"]) == {"batch_size", "lanes", "threads"}
    assert tiny["variants"] == {"fp32": None}, "nothing is known of its speed"
    told = client.get("/openapi.json").json()["components"]["schemas"]["BackendInfo"]["properties"]
    assert set(tiny) <= set(told), "everything that it shows is described"
    assert tiny["queue"] == {"held": 0, "waiting": 0, "running_batches": 0, "max_queue": 256}


def test_one_backend_is_shown_with_its_versions(client: httpx.Client) -> None:
    body = client.get("/v1/backends/tiny").json()
    assert [one["version"] for one in body["backends"]] == ["3", "2"]


@pytest.mark.parametrize("name", ["other", "TINY", "%00", "%ff%fe", "x" * 3000, "..%2ftiny"])
def test_an_unknown_name_is_refused(client: httpx.Client, name: str) -> None:
    response = client.get(f"/v1/backends/{name}")
    assert response.status_code == 404
    assert problem_of(response) in ("unknown-backend", "not-found")


def test_versions_that_are_not_served_are_listed_with_the_reason(home: Path) -> None:
    (tiny_model(home / "store", labels=LABELS).folder / "model.onnx").write_bytes(b"")
    (tiny_model(home / "store", "torn").folder / "model.json").unlink()
    with serving(home) as server, server.client() as client:
        backends = client.get("/v1/backends").json()["backends"]
        assert [(one["name"], one["version"], one["state"]) for one in backends] == [
            ("tiny", "1", "ready"),
            ("tiny", "2", "failed"),
            ("torn", "1", "failed"),
        ]
        assert "SHA-256" in backends[1]["reason"]
        assert "model.json" in backends[2]["reason"]
        assert [one["state"] for one in client.get("/v1/backends/torn").json()["backends"]] == ["failed"]
        refused = client.post("/v1/classify?backend=torn", content=plain(0))
        assert (refused.status_code, problem_of(refused)) == (503, "not-ready")


def test_counters_tell_what_became_of_requests(home: Path) -> None:
    with serving(home) as server, server.client() as client:
        for body in (plain(0), plain(255), b"no picture"):
            client.post("/v1/classify", content=body)
        assert server.backend("tiny")["counters"] == {"answered": 2, "failed": 0, "refused": 0}


ROW = (0.5, 0.3, 0.2)


def write_fragile_graph(path: Path, *rows: Sequence[float]) -> None:
    """Every picture but a white one gets row 0 as its scores, a white one row 1: without one, onnxruntime fails."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [INPUT_NAME], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMin", ["pixels"], ["darkest"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Div", ["darkest", "white"], ["share"]),
            helper.make_node("Cast", ["share"], ["row"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "row"], [OUTPUT_NAME], axis=0),
        ],
        "fragile",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", 3])],
        [
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
            helper.make_tensor("table", TensorProto.FLOAT, [len(rows), 3], [score for row in rows for score in row]),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def test_a_model_that_fails_on_an_image_is_a_500_of_its_own_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.models.write_graph", lambda path, *_args, **_options: write_fragile_graph(path, ROW))
    tiny_model(tmp_path / "store", "fragile", LABELS)
    with serving(tmp_path, clean=False) as server, server.client() as client:
        assert client.post("/v1/classify", content=plain(0)).json()["predictions"][0] == {"label": "dark", "probability": 0.5}
        failed = client.post("/v1/classify", content=plain(255), headers={"X-Request-Id": "the-white-one"})
        assert (failed.status_code, problem_of(failed)) == (500, "backend-failed")
        assert "Gather" not in failed.text, "the cause is for the log"
        assert client.post("/v1/classify", content=plain(0)).status_code == 200
        assert server.backend("fragile")["counters"] == {"answered": 2, "failed": 1, "refused": 0}
        assert server.metric("parallax_batches_total", backend="fragile", version="1", release="idle", outcome="failed") == 1
    cause = next(record for record in server.records if record.get("message") == "inference failed")
    assert "Gather" in cause["exc_info"]
    assert (cause["backend"], cause["version"]) == ("fragile", "1")


def test_scores_that_are_no_numbers_are_the_models_failure_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (ROW, (float("nan"), 0.5, 0.5))
    monkeypatch.setattr("tests.support.models.write_graph", lambda path, *_args, **_options: write_fragile_graph(path, *rows))
    tiny_model(tmp_path / "store", "fragile", LABELS)
    with serving(tmp_path, clean=False) as server, server.client() as client:
        assert client.post("/v1/classify", content=plain(0)).status_code == 200
        failed = client.post("/v1/classify", content=plain(255))
        assert (failed.status_code, problem_of(failed)) == (500, "backend-failed")
        assert server.backend("fragile")["counters"] == {"answered": 1, "failed": 1, "refused": 0}

"""`POST /v1/compare`: one image, every backend's answer."""

from pathlib import Path

import httpx

from tests.api.conftest import ENDLESS, LABELS
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.support.server import Connection, eventually, problem_of, serving


def test_all_backends_answer_unless_some_are_named(client: httpx.Client) -> None:
    everyone = client.post("/v1/compare", content=plain(255)).json()
    assert set(everyone) == {"results", "agree", "request_id"}
    assert list(everyone["results"]) == ["fake", "tiny"]
    for name, result in everyone["results"].items():
        assert result["backend"] == name
        assert result["predictions"][0]["label"] == "bright"
        assert result["request_id"] == everyone["request_id"]
    assert everyone["agree"] is True
    one = client.post("/v1/compare?backends=tiny, tiny,", content=plain(255)).json()
    assert list(one["results"]) == ["tiny"]
    assert one["agree"] is None


def test_results_come_in_the_order_in_which_they_were_asked_for(client: httpx.Client) -> None:
    assert list(client.post("/v1/compare?backends=tiny,fake", content=plain(0)).json()["results"]) == ["tiny", "fake"]


def test_backends_that_name_different_labels_disagree(home: Path) -> None:
    tiny_model(home / "store", "contrary", LABELS, sharpness=-20)
    with serving(home) as server, server.client() as client:
        body = client.post("/v1/compare?top=1", content=plain(0)).json()
    assert {name: [one["label"] for one in result["predictions"]] for name, result in body["results"].items()} == {
        "contrary": ["bright"],
        "tiny": ["dark"],
    }
    assert body["agree"] is False


def test_a_form_will_do_as_well(client: httpx.Client) -> None:
    body = client.post("/v1/compare", files={"image": plain(0)}).json()
    assert [result["predictions"][0]["label"] for result in body["results"].values()] == ["dark", "dark"]


def test_a_backend_that_is_full_has_its_problem_in_its_place_and_the_others_answer(home: Path) -> None:
    with serving(home, **ENDLESS, max_queue=1) as server, Connection(server) as holder, server.client() as client:
        holder.post("/v1/classify?backend=fake", plain(0))
        eventually(lambda: server.backend("fake")["queue"]["held"] == 1, "the only place is taken")
        response = client.post("/v1/compare", content=plain(0))
        assert response.status_code == 200
        results = response.json()["results"]
        assert (results["fake"]["status"], results["fake"]["code"]) == (429, "queue-full")
        assert results["tiny"]["predictions"][0]["label"] == "dark"
        assert response.json()["agree"] is None, "one opinion is no agreement"


def test_a_backend_that_could_not_be_loaded_has_its_problem_in_its_place(home: Path) -> None:
    torn = tiny_model(home / "store", "torn")
    (torn.folder / "model.onnx").write_bytes(b"")
    with serving(home) as server, server.client() as client:
        results = client.post("/v1/compare?backends=tiny,torn", content=plain(0)).json()["results"]
        assert results["torn"]["code"] == "not-ready"
        assert "SHA-256" in results["torn"]["detail"]
        assert results["tiny"]["predictions"][0]["label"] == "dark"


def test_an_image_that_nobody_can_read_is_the_callers_problem(client: httpx.Client) -> None:
    response = client.post("/v1/compare", content=b"no picture")
    assert (response.status_code, problem_of(response)) == (415, "unsupported-image")


def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(client: httpx.Client) -> None:
    response = client.post("/v1/compare?backends=tiny,other", content=plain(0))
    assert (response.status_code, problem_of(response)) == (404, "unknown-backend")
    assert "fake, tiny" in response.json()["detail"]


def test_an_empty_store_is_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.client() as client:
        for path in ("/v1/compare", "/v1/classify"):
            response = client.post(path, content=plain(0))
            assert (response.status_code, problem_of(response)) == (503, "not-ready"), path
            assert response.headers["retry-after"]

"""An online endpoint of Azure ML as a backend: its request, its replies, its labels."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from models import imaging
from models.errors import BrokenImage
from service.backends.azure_ml import AzureMLBackend
from service.domain import Inferred, Scores
from service.errors import BackendFailed, RemoteFailed
from service.settings import load_settings
from tests.support.azure_endpoint import KEY, LABELS, Endpoint, Reply, endpoint
from tests.support.images import encoded, plain
from tests.unit.service.stand_ins import soon, until


@pytest.fixture
def there() -> Iterator[Endpoint]:
    with endpoint() as found:
        yield found


@asynccontextmanager
async def started(there: Endpoint, **chosen: object) -> AsyncIterator[AzureMLBackend]:
    group: dict[str, object] = {"endpoint": there.url, "key": KEY, "timeout_s": 20} | chosen
    backend = AzureMLBackend(load_settings(azure_ml=group))
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def scores(backend: AzureMLBackend, image: bytes) -> Scores:
    (outcome,) = await soon(backend.infer([backend.prepare(image)]))
    assert isinstance(outcome, Inferred)
    return outcome.scores


async def known(backend: AzureMLBackend) -> None:
    await until(lambda: backend.describe()["state"] == "ready", "the endpoint has answered")


async def test_labels_are_learnt_from_an_answer_about_a_generated_image(there: Endpoint) -> None:
    async with started(there) as backend:
        assert not backend.identity.labels
        await known(backend)
        assert backend.identity.labels == LABELS
        assert len(there.asked) == 1
        assert imaging.decode(there.asked[0].image).shape == (96, 96, 3)
        assert (await scores(backend, plain(255))).argmax() == 2


async def test_a_request_that_comes_first_teaches_them_too(there: Endpoint) -> None:
    there.script.append(Reply(404))  # for the look at the start
    async with started(there) as backend:
        await until(lambda: backend.describe()["state"] == "failing", "the look has failed")
        assert (await scores(backend, plain(0))).argmax() == 0
        assert backend.identity.labels == LABELS


async def test_given_labels_are_kept_in_their_order(there: Endpoint) -> None:
    async with started(there, labels=["bright", "dark", "grey"]) as backend:
        assert backend.identity.labels == ("bright", "dark", "grey")
        assert [int((await scores(backend, plain(level))).argmax()) for level in (255, 0, 128)] == [0, 1, 2]


async def test_labels_that_are_others_than_given_or_than_before_are_refused(there: Endpoint) -> None:
    async with started(there, labels=["dark", "light"]) as backend:
        with pytest.raises(RemoteFailed, match="not those of PARALLAX_AZURE_ML__LABELS"):
            await scores(backend, plain(0))
    async with started(there) as backend:
        await known(backend)
        there.labels = ["cat", "dog"]
        with pytest.raises(RemoteFailed, match="reload"):
            await scores(backend, plain(0))
        assert "cat, dog" in backend.describe()["reason"]


async def test_the_request_has_the_documented_shape_and_names_the_deployment(there: Endpoint) -> None:
    image = encoded("JPEG")
    async with started(there, deployment="blue") as backend:
        await known(backend)
        await scores(backend, image)
    asked = there.asked[-1]
    assert set(asked.body) == {"input_data"}
    assert {key: asked.body["input_data"][key] for key in ("columns", "index")} == {"columns": ["image"], "index": [0]}
    assert asked.image == image, "as it came"
    assert asked.headers["azureml-model-deployment"] == "blue"


async def test_without_a_deployment_the_endpoints_traffic_decides(there: Endpoint) -> None:
    async with started(there) as backend:
        await known(backend)
    assert "azureml-model-deployment" not in there.asked[-1].headers


def reply(probs: object, labels: object = LABELS) -> str:
    return json.dumps([{"probs": probs, "labels": labels}])


@pytest.mark.parametrize(
    "body",
    [
        "null",
        "[]",
        "{}",
        "3",
        '"<html>"',
        "[null]",
        '[{"probs": [1, 0, 0]}]',
        reply(None),
        reply([0.5, 0.5]),
        reply([0.5, 0.4, "0.1"]),
        reply([0.9, 0.9, 0.9]),
        reply([1.5, -0.5, 0.0]),
        reply([float("nan"), 0.5, 0.5]),
        reply([0.2, 0.8], ["a", "a"]),
        reply([1.0], ["a"]),
        reply([0.2, 0.8], [1, 2]),
        f"[{reply([1, 0, 0])[1:-1]}, {reply([1, 0, 0])[1:-1]}]",
        '[{"boxes": []}]',
    ],
)
async def test_a_reply_of_another_shape_is_the_endpoints_failure(there: Endpoint, body: str) -> None:
    async with started(there) as backend:
        await known(backend)
        there.always = Reply(body=body)
        with pytest.raises(RemoteFailed, match=f"127.0.0.1:{there.port} answer"):
            await scores(backend, plain(0))
        assert backend.describe()["state"] == "failing"
        there.always = None
        assert (await scores(backend, plain(0))).argmax() == 0
        assert backend.describe()["state"] == "ready"


async def test_a_reply_that_was_encoded_twice_is_read(there: Endpoint) -> None:
    there.always = Reply(body=json.dumps(reply([0.2, 0.3, 0.5])))
    async with started(there) as backend:
        np.testing.assert_allclose(await scores(backend, plain(0)), [0.2, 0.3, 0.5])


async def test_a_bad_image_costs_no_call(there: Endpoint) -> None:
    async with started(there) as backend:
        await known(backend)
        with pytest.raises(BrokenImage):
            backend.prepare(encoded("JPEG")[:200])
        assert len(there.asked) == 1


@pytest.mark.parametrize(
    ("group", "what"),
    [
        ({"endpoint": "http://ml.example/score", "key": KEY}, "AZURE_ML__ENDPOINT: https:// is wanted"),
        ({"endpoint": "https://me:secret@ml.example/score", "key": KEY}, "AZURE_ML__ENDPOINT: an address without user"),
        ({"endpoint": "ml.example", "key": KEY}, "AZURE_ML__ENDPOINT: this is no https"),
        ({"endpoint": "https://[x", "key": KEY}, "AZURE_ML__ENDPOINT: this is no address"),
        ({"endpoint": "https://ml.example:99999/", "key": KEY}, "AZURE_ML__ENDPOINT: this is no address"),
        ({"endpoint": "https://ml.example/score"}, "PARALLAX_AZURE_ML__KEY"),
        ({"endpoint": "https://ml.example/score", "key": f"{KEY}\nHost: x"}, "only printable ASCII"),
        ({"endpoint": "https://ml.example/score", "key": KEY, "labels": ["a", "a"]}, "LABELS"),
        ({"endpoint": "https://ml.example/score", "key": KEY, "deployment": "a\r\nb"}, "AZURE_ML__DEPLOYMENT"),
        ({"endpoint": "https://ml.example/score", "key": KEY, "timeout_s": 0}, "AZURE_ML__TIMEOUT_S"),
        ({"endpoint": "https://ml.example/score", "key": KEY, "max_in_flight": 0}, "AZURE_ML__MAX_IN_FLIGHT"),
    ],
)
def test_settings_that_make_no_sense_are_refused_without_the_key(group: dict[str, Any], what: str) -> None:
    with pytest.raises(Exception, match=what) as refused:
        load_settings(azure_ml=group)
    assert KEY not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_workers_share_the_calls_that_may_be_under_way() -> None:
    settings = load_settings(azure_ml={"endpoint": "https://ml.example/score", "key": KEY, "max_in_flight": 8})
    assert [settings.shared_by(workers).azure_ml.max_in_flight for workers in (1, 3, 20)] == [8, 2, 1]


def test_it_is_made_only_with_an_endpoint() -> None:
    with pytest.raises(BackendFailed, match="ENDPOINT"):
        AzureMLBackend(load_settings())

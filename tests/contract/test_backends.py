"""What every kind of backend keeps to, whatever is behind it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ImageError
from models.repository import Repository
from service.backends.base import Backend
from service.backends.factory import finder
from service.domain import Inferred, Scores
from service.lanes import Interrupted
from service.plans import PlanBook
from service.settings import load_settings
from service.tuning import Plan
from tests.support.azure_endpoint import KEY, endpoint
from tests.support.custom_vision.accounts import serving_account
from tests.support.custom_vision.state import PREDICTION_KEY, Account
from tests.support.images import encoded, plain
from tests.support.models import tiny_model


@pytest.fixture(params=["onnx", "fake", "azure_ml", "custom_vision"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend[Any]]:
    labels = ["dark", "grey", "bright"]
    tiny_model(tmp_path / "store", name="onnx", labels=labels)
    account = Account()
    project = account.published(labels)
    with endpoint(labels) as remote, serving_account(account, factor=50) as cloud:
        elsewhere = {"endpoint": remote.url, "key": KEY, "labels": labels}
        there = {"endpoint": cloud.url, "key": PREDICTION_KEY, "project": project.id, "published_name": "production"}
        settings = load_settings(
            models_dir=tmp_path / "store",
            data_dir=tmp_path / "data",
            device="cpu",
            fake={"labels": labels},
            azure_ml=elsewhere,
            custom_vision=there | {"labels": labels, "rate": 1000},
        )
        load = finder(Repository(tmp_path / "store"), settings, 2, PlanBook(tmp_path / "plans", 2))()[request.param][0].load
        assert load is not None
        backend = load(None)
        await backend.start()
        yield backend
        await backend.close()


async def _infer(backend: Backend[Any], *images: bytes, prepare: bool = True) -> list[Scores]:
    outcomes = await backend.infer([backend.prepare(image) if prepare else image for image in images])
    return [_scores(outcome) for outcome in outcomes]


def _scores(outcome: Inferred | Exception) -> Scores:
    assert isinstance(outcome, Inferred), outcome
    assert outcome.decode >= 0
    assert outcome.infer >= 0
    return outcome.scores


async def test_scores_are_probabilities_of_its_labels(backend: Backend[Any]) -> None:
    (scores,) = await _infer(backend, encoded("JPEG"))
    assert scores.dtype == np.float32
    assert scores.shape == (len(backend.identity.labels),)
    assert scores.min() >= 0
    assert scores.sum() == pytest.approx(1, abs=1e-5)


async def test_a_full_batch_is_answered_image_by_image_in_order(backend: Backend[Any]) -> None:
    images = [plain((0, 0, 0)), plain((255, 255, 255)), plain((128, 128, 128))] * backend.max_batch_size
    alone = [(await _infer(backend, image))[0] for image in images[: backend.max_batch_size]]
    together = await _infer(backend, *images[: backend.max_batch_size])
    assert len(together) == len(alone)
    for one, same in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, same, atol=1e-5)


async def test_it_tells_dark_from_bright(backend: Backend[Any]) -> None:
    labels = backend.identity.labels
    assert [labels[(await _infer(backend, plain(grey)))[0].argmax()] for grey in (0, 128, 255)] == ["dark", "grey", "bright"]


@pytest.mark.parametrize(
    "data", [b"", b"no image", encoded("JPEG")[:100], plain(0, width=1, height=1)], ids=["empty", "text", "cut", "1x1"]
)
async def test_a_bad_image_fails_before_any_batch(backend: Backend[Any], data: bytes) -> None:
    with pytest.raises(ImageError):
        backend.prepare(data)


@pytest.mark.parametrize("backend", ["onnx"], indirect=True)
async def test_one_that_decodes_answers_encoded_images_as_it_answers_prepared_ones(backend: Backend[Any]) -> None:
    assert backend.decodes
    for image in (encoded("JPEG"), encoded("PNG"), plain(0)):
        (prepared,) = await _infer(backend, image)
        (given,) = await _infer(backend, image, prepare=False)
        np.testing.assert_array_equal(prepared, given)


@pytest.mark.parametrize("backend", ["onnx"], indirect=True)
async def test_one_that_decodes_tells_a_bad_image_apart_from_its_neighbours(backend: Backend[Any]) -> None:
    assert backend.decodes
    first, bad, last = await backend.infer([plain(0), b"no image", plain(255)])
    assert isinstance(bad, ImageError)
    assert [int(_scores(outcome).argmax()) for outcome in (first, last)] == [0, 2]


async def test_as_many_batches_as_it_says_may_be_under_way(backend: Backend[Any]) -> None:
    full = [backend.prepare(plain(0))] * backend.max_batch_size
    batches = await asyncio.gather(*(backend.infer(full) for _ in range(backend.max_in_flight)))
    assert [len(outcomes) for outcomes in batches] == [backend.max_batch_size] * backend.max_in_flight


async def test_its_description_is_json_and_states_the_plan(backend: Backend[Any]) -> None:
    described = json.loads(json.dumps(backend.describe()))
    plan = described["plan"]
    assert (backend.max_batch_size % plan["batch_size"], plan["threads"]) == (0, 1)
    assert backend.max_in_flight in (plan["lanes"], plan["lanes"] + 1), "if batches are short, one waits at the lanes' door"
    assert backend.remote or described["input"]["height"] > 0


@pytest.mark.parametrize("backend", ["onnx"], indirect=True)
async def test_what_can_be_tuned_goes_over_to_another_plan_while_it_serves(backend: Backend[Any]) -> None:
    tunable = backend.tunable
    assert tunable is not None
    under_way = [asyncio.ensure_future(backend.infer([backend.prepare(plain(255))])) for _ in range(20)]
    for plan in (Plan(4, 1, 2), Plan(1, 2, 1)):
        await tunable.adopt(plan)
        assert tunable.plan == plan
        assert backend.max_batch_size == 8, "of quick images, whatever is inferred at a time"
        assert [scores.argmax() for scores in await _infer(backend, *[plain(0)] * plan.batch_size)] == [0] * plan.batch_size
    assert [_scores((await one)[0]).argmax() for one in under_way] == [2] * 20


@pytest.mark.parametrize("backend", ["onnx"], indirect=True)
async def test_a_plan_is_measured_in_images_a_second(backend: Backend[Any]) -> None:
    tunable = backend.tunable
    assert tunable is not None
    for plan in (tunable.plan, Plan(2, 1, 2)):
        assert await asyncio.to_thread(tunable.measure, plan, threading.Event()) > 0
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        await asyncio.to_thread(tunable.measure, tunable.plan, stop)

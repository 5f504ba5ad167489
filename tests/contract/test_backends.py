"""What every kind of backend keeps to, whatever is behind it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ImageError
from models.repository import Repository
from service.backends.base import Backend
from service.backends.factory import candidates
from service.settings import load_settings
from tests.support.images import encoded, plain
from tests.support.models import tiny_model


@pytest.fixture(params=["onnx", "fake"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend[Any]]:
    tiny_model(tmp_path, name="onnx", labels=("dark", "grey", "bright"))
    settings = load_settings(models_dir=tmp_path, device="cpu", fake={"labels": ["dark", "grey", "bright"]})
    load = candidates(Repository(tmp_path), settings, cpus=2)[request.param][0].load
    assert load is not None
    backend = load()
    yield backend
    asyncio.run(backend.close())


def _infer(backend: Backend[Any], *images: bytes) -> list[np.ndarray[Any, Any]]:
    return list(asyncio.run(_run(backend, [backend.prepare(image) for image in images])))


async def _run(backend: Backend[Any], batch: list[Any]) -> Any:  # noqa: ANN401  # what a backend prepares is its own
    return await backend.infer(batch)


def test_scores_are_probabilities_of_its_labels(backend: Backend[Any]) -> None:
    (scores,) = _infer(backend, encoded("JPEG"))
    assert scores.dtype == np.float32
    assert scores.shape == (len(backend.identity.labels),)
    assert scores.min() >= 0
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_full_batch_is_answered_image_by_image_in_order(backend: Backend[Any]) -> None:
    images = [plain((0, 0, 0)), plain((255, 255, 255)), plain((128, 128, 128))] * backend.max_batch_size
    alone = [_infer(backend, image)[0] for image in images[: backend.max_batch_size]]
    together = _infer(backend, *images[: backend.max_batch_size])
    assert len(together) == len(alone)
    for one, same in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, same, atol=1e-5)


def test_it_tells_dark_from_bright(backend: Backend[Any]) -> None:
    labels = backend.identity.labels
    assert [labels[_infer(backend, plain(grey))[0].argmax()] for grey in (0, 128, 255)] == ["dark", "grey", "bright"]


@pytest.mark.parametrize(
    "data", [b"", b"no image", encoded("JPEG")[:100], plain(0, width=1, height=1)], ids=["empty", "text", "cut", "1x1"]
)
def test_a_bad_image_fails_before_any_batch(backend: Backend[Any], data: bytes) -> None:
    with pytest.raises(ImageError):
        backend.prepare(data)


def test_its_description_is_json_and_states_the_plan(backend: Backend[Any]) -> None:
    described = backend.describe()
    assert {"batch_size": backend.max_batch_size, "lanes": backend.max_in_flight, "threads": 1} == described["plan"]
    assert described["input"]["height"] > 0

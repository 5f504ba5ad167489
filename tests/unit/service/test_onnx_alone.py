"""An image that finds nobody else there gets all processors."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.backends import onnx as module
from service.backends.inference import Item, Outcome
from service.backends.onnx import OnnxBackend
from service.tuning import Plan
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.unit.service.stores import infer, load_tiny


@pytest.fixture
def store(tmp_path: Path) -> Path:
    tiny_model(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads are always quicker."""
    monkeypatch.setattr(module, "ALONE_WORTH", 1e9)


def watched(backend: OnnxBackend) -> list[int]:
    """Sizes of the batches that run on the session for who is alone."""
    assert backend._alone is not None
    sizes: list[int] = []
    usual = backend._alone

    def watch(batch: Sequence[Item]) -> Sequence[Outcome]:
        sizes.append(len(batch))
        return usual(batch)

    backend._alone = watch  # type: ignore[assignment]
    return sizes


@pytest.mark.usefixtures("worth_it")
async def test_an_image_alone_runs_on_all_processors_and_others_on_their_lanes(store: Path) -> None:
    backend = load_tiny(store)
    await backend.start()
    assert backend.describe()["threads_alone"] == 2
    sizes = watched(backend)
    (dark,), (bright,) = await infer(backend, plain(0)), await infer(backend, plain(255))
    assert sizes == [1, 1]
    assert dark.argmax() != bright.argmax()
    assert len(await infer(backend, plain(0), plain(255))) == 2
    assert sizes == [1, 1], "two images are a batch"
    first, second = backend.infer([plain(0)]), backend.infer([plain(255)])
    await asyncio.gather(first, second)
    assert sizes == [1, 1, 1], "who comes while another is there is not alone"
    await infer(backend, plain(0))
    assert sizes == [1] * 4, "the lanes are known to be free again"
    await backend.close()


@pytest.mark.usefixtures("worth_it")
async def test_scores_are_the_same_either_way(store: Path) -> None:
    backend = load_tiny(store)
    await backend.start()
    (alone,) = await infer(backend, plain(200))
    (in_company, _) = await infer(backend, plain(200), plain(0))
    assert abs(alone - in_company).max() < 1e-6
    await backend.close()


async def test_more_threads_that_win_nothing_are_not_taken(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE_WORTH", 0)
    backend = load_tiny(store)
    await backend.start()
    assert backend._alone is None
    assert backend.describe()["threads_alone"] == 1
    await infer(backend, plain(0))
    await backend.close()


@pytest.mark.usefixtures("worth_it")
async def test_threads_that_the_settings_state_hold_for_who_is_alone_too(store: Path) -> None:
    backend = load_tiny(store, plans={"tiny": {"threads": 1}})
    await backend.start()
    assert backend._alone is None
    await backend.close()


@pytest.mark.usefixtures("worth_it")
async def test_a_plan_with_as_many_threads_needs_no_other_session(store: Path) -> None:
    backend = load_tiny(store)
    await backend.adopt(Plan(1, 1, 2))
    before = backend._alone
    assert before is None
    await backend.adopt(Plan(1, 2, 1))
    alone = backend._alone
    assert alone is not None
    await backend.adopt(Plan(2, 1, 1))
    assert backend._alone is alone, "another plan with one thread keeps it"
    await backend.close()

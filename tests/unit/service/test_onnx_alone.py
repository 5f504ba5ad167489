"""An image that finds nobody else there gets all processors."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.repository import Repository
from service.backends import onnx as module
from service.backends.inference import Inference, Item, Outcome
from service.backends.onnx import OnnxBackend
from service.backends.sessions import Sessions
from service.lanes import Interrupted
from service.plans import Kept
from service.tuning import Plan
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.unit.service.stores import infer, load_tiny, plan_book

ONE = Plan(1, 2, 1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    tiny_model(tmp_path / "store")
    return tmp_path / "store"


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


async def test_an_image_alone_runs_on_all_processors_and_others_on_their_lanes(store: Path) -> None:
    backend = load_tiny(store)
    await backend.adopt(ONE, 2)
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


async def test_who_asks_another_backend_meanwhile_is_company_too(store: Path) -> None:
    backend = load_tiny(store)
    await backend.adopt(ONE, 2)
    sizes = watched(backend)
    crowd = backend._device.crowd
    crowd.busy += 1
    await infer(backend, plain(0))
    assert sizes == []
    crowd.busy -= 1
    await infer(backend, plain(0))
    assert sizes == [1]
    await backend.close()


async def test_scores_are_the_same_either_way(store: Path) -> None:
    backend = load_tiny(store)
    await backend.adopt(ONE, 2)
    (alone,) = await infer(backend, plain(200))
    (in_company, _) = await infer(backend, plain(200), plain(0))
    assert abs(alone - in_company).max() < 1e-6
    await backend.close()


@pytest.mark.parametrize(
    ("settings", "threads"), [({}, 2), ({"plans": {"tiny": {"threads": 1}}}, 1), ({"plans": {"tiny": {"lanes": 3}}}, 2)]
)
async def test_it_starts_on_what_was_kept_unless_the_settings_state_threads(
    store: Path, settings: Mapping[str, Any], threads: int
) -> None:
    unknown = load_tiny(store)
    assert unknown.threads_alone == 1
    plan_book().keep(unknown.plan_key, Kept(ONE, [], 2))
    backend = load_tiny(store, **settings)
    await backend.start()
    assert (backend.threads_alone, backend._alone is not None) == (threads, threads == 2)
    await infer(backend, plain(0))
    await backend.close()


async def test_a_plan_with_as_many_threads_needs_no_other_session_and_another_plan_keeps_the_one_there_is(store: Path) -> None:
    backend = load_tiny(store)
    await backend.adopt(Plan(1, 1, 2), 2)
    none: object = backend._alone
    assert none is None
    await backend.adopt(ONE)
    alone = backend._alone
    assert alone is not None
    await backend.adopt(Plan(2, 1, 1))
    assert backend._alone is alone
    await backend.adopt(ONE, 1)
    left: object = backend._alone
    assert left is None
    await backend.close()


async def test_one_that_does_not_give_the_golden_scores_is_never_asked(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    usual = Sessions.checked

    def check(self: Sessions, one: Inference) -> Inference:
        held.append(one.model.threads)
        return usual(self, one)

    monkeypatch.setattr(Sessions, "checked", check)
    backend = load_tiny(store)
    await backend.adopt(ONE, 2)
    assert held == [1, 2]
    await backend.close()


def by_threads(speeds: Mapping[int, float]) -> Callable[..., float]:
    """A measurement that gives sessions these speeds."""

    def throughput(work: Inference, batch: Sequence[Item], lanes: int, _seconds: float, stop: threading.Event) -> float:
        assert (len(batch), lanes, stop.is_set()) == (1, 1, False)
        return speeds[work.model.threads]

    return throughput


@pytest.mark.parametrize(("together", "threads"), [(120.0, 2), (110.0, 1)])
def test_more_threads_are_taken_if_they_are_worth_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, together: float, threads: int
) -> None:
    monkeypatch.setattr(module, "throughput", by_threads({1: 100.0, 2: together}))
    assert load_tiny(store).quickest_alone(threading.Event()) == threads


@pytest.mark.parametrize("speeds", [{}, {1: 1.0, 2: 9.0}])
def test_threads_that_the_settings_state_are_not_measured(
    store: Path, monkeypatch: pytest.MonkeyPatch, speeds: Mapping[int, float]
) -> None:
    monkeypatch.setattr(module, "throughput", by_threads(speeds))
    assert load_tiny(store, plans={"tiny": {"threads": 1}}).quickest_alone(threading.Event()) == 1


def test_they_are_really_measured_and_give_way_to_a_request(store: Path) -> None:
    backend, stop = load_tiny(store), threading.Event()
    assert backend.quickest_alone(stop) in (1, 2)
    stop.set()
    with pytest.raises(Interrupted):
        backend.quickest_alone(stop)


def test_a_version_whose_files_are_gone_says_so(store: Path) -> None:
    backend = load_tiny(store)
    Repository(store).delete("tiny", "1")
    with pytest.raises(Exception, match=r"model\.onnx can't be loaded"):
        backend.quickest_alone(threading.Event())

"""An image that finds nobody else there gets all processors."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.backends.inference import Inference, Item, Outcome
from service.backends.onnx import OnnxBackend
from service.backends.sessions import Sessions
from service.lanes import Interrupted
from service.plans import Kept
from service.tuning import Plan
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.unit.service.stores import find_in, infer, load_tiny, plan_book

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
    unknown = load_tiny(store, **settings)
    assert unknown.threads_alone == 1
    plan_book().keep(unknown.plan_key, Kept(ONE, [], 2))
    backend = load_tiny(store, **settings)
    await backend.start()
    assert (backend.threads_alone, backend._alone is not None) == (threads, threads == 2)
    await backend.adopt(ONE, 2)
    assert backend.threads_alone == threads, "nor does what another process has found out take their place"
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


@pytest.mark.parametrize(
    ("settings", "cpus", "most"),
    [({}, 2, 2), ({}, 1, 1), ({}, 64, 4), ({"plans": {"tiny": {"threads": 1}}}, 2, 1), ({"plans": {"tiny": {"lanes": 3}}}, 2, 2)],
)
def test_a_few_of_the_processors_are_tried_unless_the_settings_state_threads(
    store: Path, settings: Mapping[str, Any], cpus: int, most: int
) -> None:
    backend = load_tiny(store, **settings)
    backend.cpus = cpus
    assert backend.most_alone == most


def test_they_are_measured_on_a_session_of_their_own_and_give_way_to_a_request(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    usual = Sessions.open_alone

    def open_alone(self: Sessions, threads: int) -> Inference:
        opened.append(threads)
        return usual(self, threads)

    monkeypatch.setattr(Sessions, "open_alone", open_alone)
    backend, stop = load_tiny(store), threading.Event()
    assert all(backend.measure_alone(threads, stop) > 0 for threads in (1, 2))
    assert opened == [1, 2]
    stop.set()
    with pytest.raises(Interrupted):
        backend.measure_alone(2, stop)


async def test_a_session_for_who_is_alone_that_can_not_be_had_is_done_without(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = load_tiny(store)
    await backend.adopt(ONE, 1)
    (backend._sessions._path).unlink()
    await backend.adopt(ONE, 2)
    assert (backend.threads_alone, backend.describe()["threads_alone"]) == (1, 1)
    assert "no session for who is alone" in caplog.text
    (scores,) = await infer(backend, plain(255))
    assert scores.argmax() == 1
    await backend.close()


def test_all_backends_of_a_service_are_one_crowd(store: Path) -> None:
    tiny_model(store, "other")
    found = find_in(store)
    (one,), (other,) = (found[name] for name in ("tiny", "other"))
    assert one.load
    assert other.load
    first, second = one.load(None), other.load(None)
    assert isinstance(first, OnnxBackend)
    assert isinstance(second, OnnxBackend)
    assert first._device.crowd is second._device.crowd

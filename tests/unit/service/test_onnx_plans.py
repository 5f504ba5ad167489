"""The plan of a model on ONNX Runtime: which it starts on, and what it takes to go over to another."""

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from models.repository import Repository
from service.backends import onnx as module
from service.backends.base import Candidate
from service.backends.inference import Inference
from service.errors import Closing
from service.plans import Kept
from service.running import Running
from service.settings import load_settings
from service.tuning import Measured, Plan, default_plan
from tests.support.images import plain
from tests.support.models import tiny_model
from tests.unit.service.stores import infer, load_tiny, plan_book


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


async def test_a_lane_finds_its_next_batch_ready_if_batches_are_short(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREFETCH_BELOW_S", 0.02)
    tiny_model(store)
    backend = load_tiny(store)
    for seconds, plan, sizes in (
        (0.019, Plan(1, 2, 1), (1, 1, 3)),
        (0.021, Plan(1, 2, 1), (1, 1, 2)),
        (0.001, Plan(1, 2, 1), (8, 25, 3)),
        (0.002, Plan(1, 2, 1), (8, 12, 3)),
        (0.004, Plan(4, 3, 1), (4, 4, 4)),
        (0.006, Plan(4, 3, 1), (4, 4, 3)),
    ):
        backend._seconds = seconds
        await backend.adopt(plan)
        assert (backend.max_batch_size, backend.max_background, backend.max_in_flight) == sizes
    await backend.close()


async def test_another_plan_takes_new_lanes_and_a_new_session_only_for_other_threads_or_another_way_through_a_batch(
    store: Path,
) -> None:
    tiny_model(store)
    backend = load_tiny(store)
    await backend.start()
    session, lanes = backend._open().model, backend._lanes
    await backend.adopt(Plan(1, 1, 1))
    assert backend._open().model is session
    assert backend._lanes is not lanes
    assert session.one_by_one
    for plan, one_by_one in ((Plan(1, 1, 2), True), (Plan(2, 1, 2), False)):
        await backend.adopt(plan)
        assert (backend._open().model.threads, backend._open().model.one_by_one) == (2, one_by_one)
    several = backend._open().model
    await backend.adopt(Plan(4, 1, 2))
    assert backend._open().model is several
    (scores,) = await infer(backend, plain(255))
    assert scores.argmax() == 1
    await backend.close()


async def test_who_was_closed_meanwhile_goes_over_to_no_other_plan(store: Path) -> None:
    tiny_model(store)
    backend = load_tiny(store)
    await backend.start()
    await backend.close()
    plan, lanes = backend.plan, backend._lanes
    with pytest.raises(Closing):
        await backend.adopt(Plan(8, 8, 2))
    assert (backend.plan, backend._lanes) == (plan, lanes)


async def test_batches_of_a_running_backend_grow_when_it_adopts_another_plan(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PREFETCH_BELOW_S", 0)
    monkeypatch.setattr("service.tuning.HANDOVER_S", 0)
    tiny_model(store)
    sizes: list[int] = []
    backend = load_tiny(store, plans={"tiny": {"batch_size": 1}})
    running = await Running.start(backend, Candidate("1"), load_settings(), lambda _identity, batch: sizes.append(batch.size))
    pixels = backend.prepare(plain(0))
    await asyncio.gather(*(running.batcher.submit(pixels) for _ in range(5)))
    assert sizes == [1] * 5
    await running.adopt(Plan(4, 1, 1), 1)
    await asyncio.gather(*(running.batcher.submit(pixels) for _ in range(9)))
    assert sizes[5:] == [1, 4, 4]
    await running.close()


DEFAULT = default_plan("CPUExecutionProvider", 2, 0.0)
KEPT = Kept(Plan(2, 1, 2), [Measured(Plan(2, 1, 2), 50.0)])


@pytest.mark.parametrize(
    ("kept", "inherited", "fixed", "plan", "state", "source"),
    [
        (False, None, {}, DEFAULT, "waiting", "default"),
        (False, Plan(4, 1, 1), {}, Plan(4, 1, 1), "waiting", "inherited"),
        (True, None, {}, Plan(2, 1, 2), "tuned", "kept"),
        (True, Plan(4, 1, 1), {}, Plan(2, 1, 2), "tuned", "kept"),
        (True, None, {"tiny": {"lanes": 4}}, Plan(1, 4, 1), "waiting", "default"),
        (False, Plan(4, 1, 1), {"*": {"threads": 2}}, Plan(4, 1, 2), "waiting", "inherited"),
        (False, None, {"other": {"lanes": 3}}, DEFAULT, "waiting", "default"),
        (True, Plan(4, 1, 1), {"tiny": {"batch_size": 5, "lanes": 6, "threads": 1}}, Plan(5, 6, 1), "off", "settings"),
    ],
)
def test_it_starts_on_the_best_plan_that_is_known_and_says_whence(
    store: Path, kept: bool, inherited: Plan | None, fixed: dict[str, Any], plan: Plan, state: str, source: str
) -> None:
    tiny_model(store)
    if kept:
        plan_book().keep(load_tiny(store).plan_key, KEPT)
    backend = load_tiny(store, inherited=inherited, plans=fixed)
    assert backend.plan == plan
    told = backend.describe()["tuning"]
    assert (told["state"], told["source"]) == (state, source)
    assert bool(told["measured"]) is (source == "kept")


def test_a_plan_that_was_measured_within_bounds_is_that_of_those_bounds(store: Path) -> None:
    tiny_model(store)
    bounds = {"tiny": {"threads": 2}}
    plan_book().keep(load_tiny(store, plans=bounds).plan_key, KEPT)
    assert load_tiny(store, plans=bounds).tuning.source == "kept"
    assert load_tiny(store).tuning.source == "default"
    assert load_tiny(store, plans={"tiny": {"threads": 1}}).tuning.source == "default"


@pytest.mark.parametrize(("inherited", "source"), [(None, "default"), (Plan(4, 1, 1), "inherited")])
def test_what_will_never_be_measured_does_not_say_that_it_waits_for_it(store: Path, inherited: Plan | None, source: str) -> None:
    tiny_model(store)
    told = load_tiny(store, inherited=inherited, tune="off").describe()["tuning"]
    assert (told["state"], told["source"]) == ("off", source)


@pytest.mark.parametrize(("seconds", "lanes"), [(0.001, 3), (0.01, 2)])
def test_what_one_image_takes_at_best_decides_on_the_lane_more(
    store: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, lanes: int
) -> None:
    monkeypatch.setattr(Inference, "times", lambda _self: [1.0, seconds, 2.0])
    tiny_model(store)
    backend = load_tiny(store)
    assert backend.plan == backend.default == Plan(1, lanes, 1)


def test_a_plan_of_other_files_or_another_runtime_is_not_its_own(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model(store)
    tiny_model(store, sharpness=10)
    plan_book().keep(load_tiny(store).plan_key, KEPT)
    assert load_tiny(store).tuning.source == "kept"
    monkeypatch.setattr("models.runtime.onnxruntime.__version__", "99")
    assert load_tiny(store).tuning.source == "default"
    monkeypatch.undo()
    Repository(store).delete("tiny", "2")
    assert load_tiny(store).tuning.source == "default"


async def test_a_closed_backend_lets_go_of_its_session_at_once_whoever_still_knows_of_it(store: Path) -> None:
    tiny_model(store)
    backend = load_tiny(store)
    await backend.start()
    await infer(backend, plain(0))
    session = weakref.ref(backend._open())
    gc.disable()
    try:
        await backend.close()
        async with asyncio.timeout(30):
            while session() is not None:  # the lanes' threads end by themselves
                await asyncio.sleep(0)
    finally:
        gc.enable()

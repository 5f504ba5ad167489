"""An image's way through the service."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import UnsupportedImage
from models.imaging import Limits
from service.activity import Activity
from service.backends.base import Candidate, TooBig
from service.decoding import Decoder
from service.domain import Inferred, Prediction, Sizes
from service.errors import BackendFailed, Closing, DeadlineExceeded, QueueFull, UnknownBackend
from service.pipeline import Asker, Pipeline
from service.registry import Registry
from service.running import Running
from service.settings import load_settings
from service.telemetry import Metrics
from tests.support.images import encoded, plain
from tests.unit.service.stand_ins import Fake, candidate, fake_of, soon, until


@dataclass
class Service:
    """A pipeline, with all that it uses in reach."""

    registry: Registry
    metrics: Metrics
    activity: Activity
    pipeline: Pipeline

    @property
    def running(self) -> Running:
        return self.registry.get("a")

    def count(self, stage: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "parallax_stage_seconds_count", {"backend": "a", "version": "1", "stage": stage}
        )


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Two backends, `a` and `b`, with room for twelve requests each."""
    registry = Registry(load_settings(default_backend="a", max_queue=12))
    await registry.open({name: [candidate(name, "1")] for name in "ab"})
    decoder = Decoder(1, Limits())
    metrics, activity = Metrics(), Activity()
    yield Service(registry, metrics, activity, Pipeline(registry, decoder, metrics, activity))
    decoder.close()
    await registry.close()


async def test_a_deadline_that_passes_while_the_image_is_decoded_is_answered_then(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(service.running.backend, "prepare", lambda _data: go_on.wait())
    try:
        late = Asker(deadline=asyncio.get_running_loop().time() + 0.01)
        with pytest.raises(DeadlineExceeded):
            await soon(service.pipeline.classify(plain(0, width=500, height=500), asker=late))
        assert service.running.admission.held == 0
    finally:
        go_on.set()


async def test_a_broken_default_leaves_the_choice_to_the_others_unless_it_was_asked_for(tmp_path: Path) -> None:
    found = {"cnn": [Candidate("1", reason="half a file")], "fake": [candidate("fake", "1")]}
    left_open = Registry(load_settings(models_dir=tmp_path))
    await left_open.open(found)
    assert left_open.default == "fake"
    asked_for = Registry(load_settings(models_dir=tmp_path, default_backend="cnn"))
    await asked_for.open(found)
    assert asked_for.default == "cnn"


async def test_a_classified_image_is_ranked_timed_and_counted(service: Service) -> None:
    found = await service.pipeline.classify(plain(255), top=1)
    assert found.backend is service.running.identity
    assert [ranked.label for ranked in found.ranked] == ["b"]
    times = found.timings
    assert min(times) >= 0
    assert times.queue + times.decode + times.infer == pytest.approx(times.total)
    assert times.decode > 0
    assert [service.count(stage) for stage in ("queue", "decode", "infer", "total")] == [1] * 4
    assert service.running.counters.answered == 1


async def test_whoever_measures_is_told_of_a_request_before_its_image_is_looked_at(service: Service) -> None:
    stop = service.activity.until_next()
    with pytest.raises(UnsupportedImage):
        await service.pipeline.classify(b"no image")
    assert stop.is_set()


@pytest.mark.parametrize("answer", [TooBig(), "the scores"], ids=["too big", "small"])
async def test_a_backend_that_decodes_gets_the_bytes_and_if_they_are_too_big_the_pixels(service: Service, answer: Any) -> None:  # noqa: ANN401
    fake = fake_of(service.registry)
    given: list[object] = []

    async def infer(batch: Sequence[Any]) -> Sequence[Inferred | Exception]:
        given.extend(batch)
        if isinstance(batch[0], bytes) and isinstance(answer, TooBig):
            return [answer]
        return [Inferred(np.array([0.2, 0.8], np.float32), 0.25, 0.5)]

    fake.decodes = True
    service.running.batcher._infer = infer
    found = await service.pipeline.classify(plain(0))
    assert given[0] == plain(0)
    assert len(given) == (2 if isinstance(answer, TooBig) else 1)
    assert isinstance(given[-1], bytes) is not isinstance(answer, TooBig)
    assert (found.timings.decode == 0.25) is not isinstance(answer, TooBig), "who decoded it tells how long that took"
    assert found.timings.infer == 0.5
    assert service.running.admission.held == 0


@pytest.mark.parametrize(
    ("raised", "seen", "failed"),
    [
        (RuntimeError("a kernel"), BackendFailed, 1),
        (BackendFailed("nan"), BackendFailed, 1),
        (UnsupportedImage("x"), UnsupportedImage, 0),
    ],
    ids=["batch", "own", "image"],
)
async def test_an_error_of_the_backend_is_its_own_and_one_of_the_image_is_not(
    service: Service, raised: Exception, seen: type[Exception], failed: int
) -> None:
    async def infer(_batch: Sequence[Any]) -> Sequence[Inferred | Exception]:
        if isinstance(raised, RuntimeError):
            raise raised
        return [raised]

    service.running.batcher._infer = infer
    with pytest.raises(seen) as refused:
        await service.pipeline.classify(plain(0))
    assert "a kernel" not in str(refused.value), "what a library says is for the log"
    assert (service.running.counters.failed, service.running.counters.answered) == (failed, 0)
    assert service.running.admission.held == 0
    assert service.count("total") is None


async def test_a_refusal_is_the_same_before_the_body_is_read_and_after_and_is_counted(service: Service) -> None:
    fake = fake_of(service.registry)
    fake.go_on.clear()
    askers = [Asker(f"{number}") for number in range(12)]
    inside = [asyncio.ensure_future(service.pipeline.classify(plain(0), asker=asker)) for asker in askers]
    await until(lambda: service.running.admission.held == 12, "all are inside")
    for refused in (1, 3):
        with pytest.raises(QueueFull):
            service.pipeline.check("a", None, Asker("one more"))
        assert service.running.counters.refused == refused
        with pytest.raises(QueueFull):
            await service.pipeline.classify(plain(0), asker=Asker("one more"))
    fake.go_on.set()
    await asyncio.gather(*inside)
    service.pipeline.check("a", None, Asker("one more"))
    with pytest.raises(UnknownBackend):
        service.pipeline.check("c", None, Asker("one more"))


async def test_background_work_of_a_caller_leaves_places_for_that_callers_other_work(service: Service) -> None:
    fake = fake_of(service.registry)
    fake.go_on.clear()
    scoring = Asker("alice", background=True)
    inside: list[asyncio.Task[Prediction]] = []
    while True:
        inside.append(asyncio.ensure_future(service.pipeline.classify(plain(0), asker=scoring)))
        await until(lambda: inside[-1].done() or service.running.admission.held == len(inside), "it is inside, or was refused")
        if inside[-1].done():
            break
    assert isinstance(inside.pop().exception(), QueueFull)
    clicked = asyncio.ensure_future(service.pipeline.classify(plain(0), asker=Asker("alice")))
    fake.go_on.set()
    await asyncio.gather(clicked, *inside)


async def test_interactive_work_goes_first_and_callers_take_turns(service: Service) -> None:
    fake = fake_of(service.registry)
    fake.go_on.clear()
    service.running.batcher.resize(Sizes.alike(1, 1))
    done: list[str] = []

    async def ask(name: str, asker: Asker) -> None:
        before = service.running.batcher.waiting + service.running.batcher.running
        task = asyncio.ensure_future(service.pipeline.classify(plain(0), asker=asker))
        tasks.append(task)
        task.add_done_callback(lambda _task: done.append(name))
        await until(lambda: service.running.batcher.waiting + service.running.batcher.running > before, f"{name} waits")

    tasks: list[asyncio.Task[Prediction]] = []
    for name in ("first", "scoring", "greedy 1", "greedy 2", "greedy 3", "modest"):
        await ask(name, Asker(name.split()[0], background=name == "scoring"))
    fake.go_on.set()
    await asyncio.gather(*tasks)
    assert done == ["first", "greedy 1", "modest", "greedy 2", "greedy 3", "scoring"]


async def test_a_comparison_tells_each_backends_own_result_or_error(service: Service) -> None:
    found = await service.pipeline.compare(encoded(), backends=["b", "missing", "b"])
    assert [name for name, _ in found] == ["b", "missing"]
    assert isinstance(found[0][1], Prediction)
    assert isinstance(found[1][1], UnknownBackend)
    everyone = await service.pipeline.compare(encoded())
    assert [(name, type(result)) for name, result in everyone] == [("a", Prediction), ("b", Prediction)]
    assert isinstance(service.running.backend, Fake)


async def test_images_that_are_handed_over_together_have_each_its_own_outcome(service: Service) -> None:
    fake, running = fake_of(service.registry), service.running
    fake.decodes = True
    outcomes: dict[bytes, Inferred | Exception] = {
        b"right": Inferred(np.array([0.2, 0.8], np.float32), 0.25, 0.5),
        plain(0): TooBig(),
        b"none": UnsupportedImage("no image"),
        b"broken": RuntimeError("a kernel"),
    }

    async def infer(batch: Sequence[Any]) -> Sequence[Inferred | Exception]:
        return [outcomes[item] if isinstance(item, bytes) else outcomes[b"right"] for item in batch]

    running.batcher._infer = infer
    found = await service.pipeline.classify_all(running, list(outcomes), top=1)
    assert [type(one) for one in found] == [Prediction, Prediction, UnsupportedImage, BackendFailed]
    assert (running.counters.answered, running.counters.failed, service.count("total")) == (2, 1, 2)
    assert running.admission.held == 0
    assert await service.pipeline.classify_all(running, []) == []


async def test_images_that_find_no_room_together_are_all_refused_and_none_stays_inside(service: Service) -> None:
    fake_of(service.registry).decodes = True
    refused = await service.pipeline.classify_all(service.running, [plain(0)] * 13)
    assert {type(one) for one in refused} == {QueueFull}
    assert len(refused) == service.running.counters.refused == 13
    await service.running.batcher.close()
    assert {type(one) for one in await service.pipeline.classify_all(service.running, [plain(0)] * 2)} == {Closing}
    assert service.running.admission.held == 0

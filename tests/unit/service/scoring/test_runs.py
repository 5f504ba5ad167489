"""A job's way from its set to its rows, with stand-ins for backends."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.admission import Permit
from service.domain import Inferred, Prediction, Sizes
from service.errors import DeadlineExceeded, KeyReused, QueueFull, UnknownBackend, UnmatchedLabels
from service.pipeline import Asker
from service.scoring import stint
from service.scoring.options import Options
from service.scoring.sources import FolderSource
from service.settings import Settings
from tests.support.databases import settings_for
from tests.support.images import labelled, plain, write_folder, write_zip
from tests.unit.service.scoring.desks import office, until_async
from tests.unit.service.stand_ins import candidate, fake_of, until

COUNT = {"a": 12, "b": 9}
"""Images by label; the stand-ins know them all."""


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with settings_for(request.param, tmp_path_factory.mktemp("data")) as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With a set named `set`, and a database in a file."""
    write_folder(tmp_path / "sets" / "set", labelled(COUNT))
    return Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path / "sets", models_dir=tmp_path / "store")


async def test_every_image_has_one_row_of_every_backend(database: Settings, tmp_path: Path) -> None:
    write_folder(tmp_path / "set", labelled(COUNT))
    settings = database.model_copy(update={"datasets_dir": tmp_path})
    async with office(settings) as here:
        queued = await here.hand_in(dataset="set", concurrency=3)
        assert (queued.state, queued.total, queued.dataset["labels"]) == ("queued", 42, ["a", "b"])
        job = await here.ended(queued)
        assert (job.state, job.note, job.done) == ("succeeded", None, 42)
        rows = await here.rows(job)
    assert {(row.backend, row.image) for row in rows} == {(name, image) for name in "ab" for image in labelled(COUNT)}
    assert len(rows) == 42
    for row in rows:
        assert row.label == row.predicted == row.image[0]
        assert (row.version, row.precision, row.error) == ("1", "none", None)
        assert row.scores is not None
        assert row.probability == pytest.approx(row.scores.max())
        assert row.queue_ms is not None
        assert row.total_ms == pytest.approx(row.queue_ms + (row.decode_ms or 0) + (row.infer_ms or 0))
    assert [(one.done, one.failed, one.correct) for one in job.backends] == [(21, 0, 21)] * 2
    assert all(one.seconds > 0 for one in job.backends)


async def test_what_can_t_be_read_or_answered_is_noted_with_its_image_alone(settings: Settings, tmp_path: Path) -> None:
    write_folder(tmp_path / "sets" / "set", {"a/broken.png": labelled({"a": 1})["a/1.png"][:60], "a/empty.png": b""})
    async with office(settings) as here:
        job = await here.ended(await here.hand_in(dataset="set", backends=["a"]))
        rows = {row.image: row for row in await here.rows(job)}
    assert job.state == "succeeded"
    assert job.note == "2 of 23 rows have an error instead of an answer (a: 2)."
    assert rows["a/broken.png"].error == "broken-image"
    assert rows["a/empty.png"].error == "empty-image"
    assert rows["a/empty.png"].total_ms is None
    assert sum(row.error is None for row in rows.values()) == 21


async def test_a_backend_that_dies_on_the_way_leaves_the_others_alone(settings: Settings) -> None:
    async with office(settings) as here:
        fake = fake_of(here.registry)
        infer, seen = fake.infer, 0

        async def die(batch: Sequence[Any]) -> Sequence[Inferred | Exception]:
            nonlocal seen
            seen += len(batch)
            if seen > 10:
                raise RuntimeError("gone")
            return await infer(batch)

        here.registry.get("a").batcher._infer = die
        job = await here.ended(await here.hand_in(dataset="set", warmup=0, concurrency=1))
        rows = await here.rows(job)
    assert job.state == "succeeded"
    assert sum(row.error == "backend-failed" for row in rows if row.backend == "a") == 11
    assert all(row.error is None for row in rows if row.backend == "b")


async def test_a_job_of_which_nothing_came_has_failed(settings: Settings) -> None:
    async with office(settings) as here:

        async def die(_batch: Sequence[Any]) -> Sequence[Inferred | Exception]:
            raise DeadlineExceeded("late")

        here.registry.get("a").batcher._infer = die
        job = await here.ended(await here.hand_in(dataset="set", backends=["a"], warmup=0))
    assert (job.state, job.done) == ("failed", 21)


async def test_a_full_queue_is_waited_for(settings: Settings) -> None:
    async with office(settings) as here:
        admission = here.registry.get("a").admission
        permit, refused = admission.permit, 0

        def some(caller: str = "", deadline: float | None = None, places: int = 1) -> Permit:
            nonlocal refused
            refused += 1
            if refused % 3:
                raise QueueFull("full", 1)
            return permit(caller, deadline, places)

        admission.permit = some  # type: ignore[method-assign]
        job = await here.ended(await here.hand_in(dataset="set", backends=["a"]))
    assert (job.state, job.note) == ("succeeded", None)
    assert refused >= 63


async def test_a_backend_that_refuses_for_long_is_not_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stint, "PATIENCE_S", 0.05)
    async with office(settings) as here:

        def none(caller: str = "", deadline: float | None = None, places: int = 1) -> Permit:
            raise QueueFull("full", 1)

        here.registry.get("a").admission.permit = none  # type: ignore[method-assign]
        job = await here.ended(await here.hand_in(dataset="set"))
        rows = await here.rows(job)
    assert job.state == "succeeded"
    assert [row.error for row in rows] == ["queue-full"] * 21 + [None] * 21


async def test_a_new_version_does_not_change_a_job_that_began_with_the_old_one(settings: Settings) -> None:
    async with office(settings) as here:
        old = fake_of(here.registry)
        old.go_on.clear()
        job = await here.hand_in(dataset="set", backends=["a"])
        await until(lambda: here.registry.get("a").batcher.running, "the old version is at work")
        await here.registry.reload("a", [candidate("a", "2"), candidate("a", "1")])
        assert here.registry.get("a").identity.version == "2"
        old.go_on.set()
        job = await here.ended(job)
        assert {row.version for row in await here.rows(job)} == {"1"}
        await until(lambda: old.closed, "nobody needs the old version any more")


async def test_a_version_that_is_no_longer_served_is_loaded_for_the_job_alone(settings: Settings) -> None:
    async with office(settings, works=False) as here:
        job = await here.hand_in(dataset="set", backends=["a"])
    loaded: list[object] = []
    found = {"a": [candidate("a", "2"), candidate("a", "1", inherited=loaded)]}  # type: ignore[arg-type]  # only counted
    async with office(settings, found) as here:
        job = await here.ended(job)
        assert {(row.version, row.error) for row in await here.rows(job)} == {("1", None)}
        assert len(loaded) == 1
        assert [one.identity.version for one in here.registry.running] == ["2"]


async def test_a_version_that_is_gone_is_an_error_of_every_image_that_lacks_its_row(settings: Settings) -> None:
    async with office(settings, works=False) as here:
        job = await here.hand_in(dataset="set")
    async with office(settings, {"a": [candidate("a", "2")], "b": [candidate("b", "1")]}) as here:
        job = await here.ended(job)
        rows = await here.rows(job)
    assert job.state == "succeeded"
    assert [(row.backend, row.error) for row in rows] == [("a", "unknown-version")] * 21 + [("b", None)] * 21


async def test_a_job_goes_on_where_a_process_left_it(settings: Settings) -> None:
    async with office(settings) as here:
        b = fake_of(here.registry, "b")
        b.go_on.clear()
        job = await here.hand_in(dataset="set")

        async def half() -> bool:
            return (await here.desk.get(job.id)).done == 21

        await until_async(half, "all of a's rows are there")
    seen: list[int] = []
    async with office(settings) as there:
        running = there.registry.get("a")
        infer = running.batcher._infer
        running.batcher._infer = lambda batch: (seen.append(len(batch)), infer(batch))[1]  # type: ignore[func-returns-value]
        job = await there.ended(job)
        rows = await there.rows(job)
        _, events = await there.desk.events(job.id, 0)
    assert seen == [], "nobody asks a anything again"
    assert (len(rows), job.done) == (42, 42)
    assert [event.kind for event in events] == ["queued", "started", "released", "resumed", "succeeded"]


async def test_a_cancelled_job_keeps_what_it_has(settings: Settings) -> None:
    async with office(settings) as here:
        fake_of(here.registry, "b").go_on.clear()
        job = await here.hand_in(dataset="set")
        await until(lambda: here.registry.get("b").batcher.running, "it is at work")
        assert (await here.desk.cancel(job.id)).state == "running"
        job = await here.ended(job)
        assert (job.state, job.done, len(await here.rows(job))) == ("cancelled", 21, 21)
        assert await here.desk.cancel(job.id) == job
        fake_of(here.registry, "b").go_on.set()


async def test_a_job_that_waits_is_cancelled_at_once(settings: Settings) -> None:
    async with office(settings, works=False) as here:
        job = await here.desk.cancel((await here.hand_in(dataset="set")).id)
        assert (job.state, job.done) == ("cancelled", 0)


async def test_jobs_go_one_after_another_and_images_in_the_order_of_their_seed(settings: Settings) -> None:
    async with office(settings) as here:
        jobs = [await here.hand_in(dataset="set", limit=8, seed=seed, mode="latency", backends=["a"]) for seed in (1, 2, 1)]
        first, second, third = [await here.ended(job) for job in jobs]
        images = [{row.image for row in await here.rows(job)} for job in (first, second, third)]
    assert first.ended is not None
    assert second.began is not None
    assert first.ended <= second.began
    assert images[0] == images[2] != images[1]
    assert first.dataset["images"] == 8


async def test_a_set_without_labels_has_predictions_and_no_accuracy(settings: Settings, tmp_path: Path) -> None:
    pile = {f"seg_pred/{name.replace('/', '-')}": data for name, data in labelled(COUNT).items()}
    write_zip(tmp_path / "sets" / "pile.zip", pile)
    async with office(settings) as here:
        job = await here.ended(await here.hand_in(dataset="pile.zip", backends=["a"]))
        rows = await here.rows(job)
    assert job.dataset["labelled"] is False
    assert {row.label for row in rows} == {None}
    assert all(row.predicted for row in rows)
    assert job.backends[0].correct == 0


async def test_labels_are_the_backends_or_mapped_to_them(settings: Settings, tmp_path: Path) -> None:
    files = {name.replace("a/", "dusk/"): data for name, data in labelled(COUNT).items()}
    write_folder(tmp_path / "sets" / "other", files)
    async with office(settings) as here:
        with pytest.raises(UnmatchedLabels, match=r"a does not know 'dusk'; it knows a, b; b does not know 'dusk'"):
            await here.hand_in(dataset="other")
        job = await here.ended(await here.hand_in(dataset="other", label_map={"dusk": "a"}, backends=["a"]))
        rows = await here.rows(job)
    assert job.backends[0].correct == 21
    assert {row.image.split("/")[0] for row in rows} == {"dusk", "b"}
    assert {row.label for row in rows} == {"a", "b"}


async def test_backends_that_cost_money_by_the_call_are_asked_only_if_they_are_named(settings: Settings) -> None:
    async with office(settings, works=False) as here:
        fake_of(here.registry, "b").tally = type("Metered", (), {"metered": True})()
        assert [one.pinned.name for one in (await here.hand_in(dataset="set")).backends] == ["a"]
        named = await here.hand_in(dataset="set", backends=["b", "a", "b"])
        assert [one.pinned.name for one in named.backends] == ["b", "a"]
        with pytest.raises(UnknownBackend):
            await here.hand_in(dataset="set", backends=["c"])


async def test_an_idempotency_key_makes_one_job_of_two_requests(settings: Settings) -> None:
    async with office(settings, works=False) as here:
        first = await here.hand_in(dataset="set", key="k")
        assert (await here.hand_in(dataset="set", key="k")).id == first.id
        assert (await here.hand_in(dataset="set", key="k", caller="bob")).id != first.id
        with pytest.raises(KeyReused):
            await here.hand_in(dataset="set", key="k", limit=3)
        assert len(await here.desk.newest(10, None)) == 2


async def test_an_image_that_is_always_refused_is_not_waited_for_because_its_neighbour_was_answered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stint, "PATIENCE_S", 0.05)
    async with office(settings) as here:
        pipeline = here.desk._machinery.pipeline
        answer = await pipeline.classify_with(here.registry.get("a"), plain(0), top=1)

        async def first_alone(_running: object, images: list[bytes], **_more: object) -> list[object]:
            refused = QueueFull("full", 1)
            return [answer, refused] if len(images) == 2 else [refused]

        monkeypatch.setattr(pipeline, "classify_all", first_alone)
        running = here.registry.get("a")
        one = stint.Stint(
            here.desk._machinery,
            Options(dataset="set"),
            FolderSource(settings.datasets_dir or Path()),
            cast("Any", None),
            cast("Any", None),
            running.identity,
            running,
            Asker(),
        )
        async with asyncio.timeout(10):
            outcomes = await one._classify([plain(0), plain(255)])
    assert [type(outcome) for outcome in outcomes] == [Prediction, QueueFull]


@pytest.mark.parametrize(
    ("queue", "places", "batch", "background", "parallel", "asked", "sent"),
    [
        (256, 4, 8, 32, 1, None, (4, 32)),
        (1024, 4, 8, 32, 1, None, (8, 32)),
        (64, 4, 8, 32, 1, None, (4, 8)),
        (1, 4, 8, 32, 1, None, (1, 1)),
        (256, 4, 8, 32, 1, 64, (4, 16)),
        (256, 4, 8, 32, 1, 3, (3, 1)),
        (256, 2, 4, 4, 1, None, (4, 4)),
        (256, 4, 8, 32, 16, None, (64, 1)),
        (256, 50, 1, 1, 1, None, (64, 1)),
        (256, 1, 1, 1, 1, None, (2, 1)),
    ],
    ids=["usual", "room", "small queue", "no queue", "as asked", "few", "slow", "storage", "remote", "one place"],
)
def test_images_go_in_groups_where_every_lane_has_some_and_half_of_the_queue_stays_free(
    queue: int, places: int, batch: int, background: int, parallel: int, asked: int | None, sent: tuple[int, int]
) -> None:
    batcher = SimpleNamespace(sizes=Sizes(batch, places, background, beside_urgent=1))
    running = SimpleNamespace(batcher=batcher, admission=SimpleNamespace(max_queue=queue))
    options = Options(dataset="set", concurrency=asked)
    nothing = cast("Any", None)
    one = stint.Stint(
        nothing,
        options,
        cast("Any", SimpleNamespace(parallel=parallel)),
        nothing,
        nothing,
        nothing,
        cast("Any", running),
        Asker(),
    )
    assert one._concurrency() == sent
    calls, together = sent
    assert calls * together <= max(1, queue // 2)

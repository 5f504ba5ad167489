"""Every epoch of a run is known to MLflow once, whatever happens to the run or to the server."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models.errors import UsageError
from models.metadata import DataFile, ModelCard
from models.metadata import TestResult as ModelTest
from models.repository import Repository, StoredModel
from tests.support.models import tiny_model
from tests.unit.training.small import small_facts, small_run, small_set
from training.runs import Epoch, Run
from training.tracking.journal import Journal
from training.tracking.push import push
from training.tracking.server import TrackingError, connect
from training.tracking.tracker import MlflowTracker, Tracker, tracker_for

DATA = DataFile(name="a.zip", sha256="a" * 64, images=9)
FACTS = small_facts().model_copy(update={"finished": datetime(2026, 2, 3, tzinfo=UTC)})


@pytest.fixture
def run(home: Path) -> Run:
    return small_run(home / "runs")


def learn(run: Run, stage: str, *numbers: int) -> None:
    for number in numbers:
        line = Epoch(epoch=number, seconds=2, loss=1 / number, accuracy=0.5, val_loss=2 / number, val_accuracy=number / 10)
        (run.stage(stage) if stage else run).append(line)


def ended(run: Run, store: Repository) -> StoredModel:
    """What a run leaves in the store."""
    facts = FACTS.model_copy(update={"settings": {"run": run.folder.name}})
    run.note(facts=facts, confusion=[[3, 0], [1, 2]], labels=["dark", "bright"])
    stored = tiny_model(store.root, run.read().name)
    card: ModelCard = stored.card.model_copy(update={"training": facts})
    store.update(card)
    return store.get(card.name, card.version)


def metrics(run: Run, name: str) -> list[tuple[int, float]]:
    run_id = run.read().mlflow_run
    assert run_id
    return [(one.step, one.value) for one in connect().get_metric_history(run_id, name)]


def test_a_run_is_known_with_all_that_it_was_told_and_came_to(run: Run, store: Repository, capsys: Any) -> None:  # noqa: ANN401
    with MlflowTracker() as tracker:
        tracker.begin(run, small_set())
        learn(run, "", 1, 2)
        tracker.finish(ended(run, store))
    client = connect()
    (version,) = client.search_model_versions("name='small'")
    found = client.get_run(run.read().mlflow_run)
    assert client.get_experiment(found.info.experiment_id).name == "parallax"
    assert (found.info.run_name, found.info.status) == (run.folder.name, "FINISHED")
    assert found.data.params["augmentation.mixup"] == "0.2"
    assert (found.data.params["recipe"], found.data.params["seed"]) == ("residual", "7")
    assert metrics(run, "val_accuracy") == [(1, 0.1), (2, 0.2)]
    assert metrics(run, "loss") == [(1, 1.0), (2, 0.5)]
    sums = {"minutes": 1.0, "usd": 0.1, "validation_accuracy_low": 0.4, "best_epoch": 2.0}
    assert {key: found.data.metrics[key] for key in sums} == sums
    assert (version.version, version.run_id) in {(1, found.info.run_id), ("1", found.info.run_id)}
    files = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert "confusion.png" in files
    assert "registered as models:/small/1" in " ".join(capsys.readouterr().err.split())


def test_what_it_learnt_from_is_known_by_digest(run: Run) -> None:
    MlflowTracker().begin(run, replace(small_set(), data=[DATA], excluded=[DATA]))
    tags = connect().get_run(run.read().mlflow_run).data.tags
    assert tags["data.1"] == tags["excluded.1"] == f"a.zip, 9 images, sha256 {'a' * 64}"


def test_a_run_that_was_killed_goes_on_in_the_same_run_of_mlflow(run: Run, store: Repository) -> None:
    tracker = MlflowTracker("resumed")
    tracker.begin(run, small_set())
    learn(run, "head", 1, 2)
    run.watchers.clear()  # killed between keeping an epoch and telling of it
    learn(run, "head", 3)
    again = Run(run.folder)
    with MlflowTracker("resumed") as tracker:
        tracker.begin(again, small_set())
        assert metrics(run, "head/val_accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
        learn(again, "fine_tune", 1)
        tracker.finish(ended(again, store))
    assert metrics(run, "head/val_accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert metrics(run, "fine_tune/seconds") == [(1, 2.0)]
    client = connect()
    experiment = client.get_experiment_by_name("resumed")
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_a_version_that_has_changed_is_registered_anew_and_the_old_one_stays(run: Run, store: Repository, home: Path) -> None:
    run = Run.create(home / "runs", run.read().model_copy(update={"name": "changing"}))
    with MlflowTracker() as tracker:
        tracker.begin(run, small_set())
        learn(run, "", 1)
        stored = ended(run, store)
        tracker.finish(stored)
    test = ModelTest(data=DATA, accuracy={"fp32": FACTS.validation}, evaluated=FACTS.finished)
    store.update(stored.card.model_copy(update={"tests": [test]}))
    assert push(store.get("changing"), home / "runs", experiment="elsewhere") == "2"
    client = connect()
    first, second = (client.get_model_version("changing", number) for number in "12")
    assert first.run_id == second.run_id == run.read().mlflow_run
    cards = [Path(one.source.removeprefix("file://")) / "parallax" / "model.json" for one in (first, second)]
    assert [len(ModelCard.model_validate_json(card.read_bytes()).tests) for card in cards] == [0, 1]
    assert metrics(run, "a.zip/test_accuracy_fp32") == [(0, FACTS.validation.value)]
    assert metrics(run, "usd") == [(0, 0.1)], "not doubled"


def test_every_test_set_has_an_accuracy_of_its_own(run: Run, store: Repository, home: Path) -> None:
    learn(run, "", 1)
    stored = ended(run, store)
    values = iter((0.25, 0.5, 0.75))

    def met(name: str, digest: str) -> ModelTest:
        data = DataFile(name=name, sha256=digest * 64, images=4)
        accuracy = FACTS.validation.model_copy(update={"value": next(values)})
        return ModelTest(data=data, accuracy={"fp32": accuracy}, evaluated=FACTS.finished)

    tests = [met("a.zip", "1"), met("b.zip + c (1)", "2"), met("a.zip", "3")]
    for count in (1, 3):
        store.update(stored.card.model_copy(update={"tests": tests[:count]}))
        push(store.get(stored.card.name), home / "runs")
    found = {f"{name}/test_accuracy_fp32": metrics(run, f"{name}/test_accuracy_fp32") for name in ("a.zip", "b.zip_c_1_")}
    assert found == {"a.zip/test_accuracy_fp32": [(0, 0.25)], "b.zip_c_1_/test_accuracy_fp32": [(0, 0.5)]}
    assert metrics(run, "a.zip-33333333/test_accuracy_fp32") == [(0, 0.75)]


def test_a_picture_that_is_there_is_not_drawn_again(
    run: Run, store: Repository, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(run, "", 1)
    stored = ended(run, store)
    push(stored, home / "runs")
    assert "confusion.png" in {one.path for one in connect().list_artifacts(run.read().mlflow_run)}
    monkeypatch.setattr("training.tracking.picture.draw_confusion", lambda *_: pytest.fail("drawn again"))
    store.update(stored.card.model_copy(update={"labels": ["night", "day"]}))
    push(store.get(stored.card.name), home / "runs")


@pytest.mark.parametrize(("exc", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_fails_is_known_as_such_until_it_goes_on(run: Run, exc: BaseException, status: str) -> None:
    def fail() -> None:
        with MlflowTracker() as tracker:
            tracker.begin(run, small_set())
            raise exc

    with pytest.raises(type(exc)):
        fail()
    client = connect()
    assert client.get_run(run.read().mlflow_run).info.status == status
    MlflowTracker().begin(run, small_set())
    assert client.get_run(run.read().mlflow_run).info.status == "RUNNING"


def test_without_a_server_nothing_is_lost_and_push_sends_it_later(
    run: Run,
    store: Repository,
    home: Path,
    no_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,  # noqa: ANN401
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", no_server)
        with MlflowTracker() as tracker:
            tracker.begin(run, small_set())
            learn(run, "", 1, 2)
            stored = ended(run, store)
            tracker.finish(stored)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("tracking has failed") == 1, "told once"
    assert "small/1 is in the store, but not tracked" in said
    assert "When http://127.0.0.1:9 answers again: parallax models push small/1" in said
    assert "secret" not in said
    assert run.read().mlflow_run is None
    push(stored, home / "runs")
    assert metrics(run, "val_accuracy") == [(1, 0.1), (2, 0.2)]
    assert metrics(run, "validation_accuracy") == [(0, FACTS.validation.value)]


def test_a_server_that_fails_midway_is_left_alone_until_the_end(
    run: Run, store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MlflowTracker()
    tracker.begin(run, small_set())
    asked: list[int] = []

    def fail(_: Journal, values: object, step: int = 0) -> None:
        asked.append(step)
        raise TrackingError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "measure", fail)
        learn(run, "", 1, 2, 3)
    assert asked == [1]
    learn(run, "", 4)
    assert metrics(run, "loss") == []
    tracker.finish(ended(run, store))
    assert [step for step, _ in metrics(run, "loss")] == [1, 2, 3, 4]


def test_a_run_that_another_server_knows_is_begun_anew_here(run: Run) -> None:
    run.note(mlflow_run="0123456789abcdef0123456789abcdef")
    learn(run, "", 1)
    MlflowTracker().begin(run, small_set())
    assert run.read().mlflow_run != "0123456789abcdef0123456789abcdef"
    assert metrics(run, "accuracy") == [(1, 0.5)]


def test_the_run_of_a_surrounding_job_is_adopted_and_left_open(
    run: Run, store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Journal.open("job", experiment="jobs")
    monkeypatch.setenv("MLFLOW_RUN_ID", job.run_id)
    with MlflowTracker() as tracker:
        tracker.begin(run, small_set())
        learn(run, "", 1)
        tracker.finish(ended(run, store))
    found = connect().get_run(job.run_id)
    assert run.read().mlflow_run == job.run_id
    assert found.info.status == "RUNNING", "whoever began it ends it"
    assert found.data.metrics["val_accuracy"] == 0.1


def test_what_is_not_set_is_no_parameter() -> None:
    journal = Journal.open("run")
    journal.describe({"learning_rate": 0.1, "head": None}, {})
    assert connect().get_run(journal.run_id).data.params == {"learning_rate": "0.1"}


def test_a_deleted_experiment_is_refused() -> None:
    client = connect()
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(TrackingError, match="'gone' was deleted"):
        Journal.open("run", experiment="gone")


Choose = Callable[[], Tracker]


@pytest.mark.parametrize(
    ("track", "word", "kind"),
    [(None, "", MlflowTracker), (None, "off", Tracker), (True, "off", MlflowTracker), (False, "on", Tracker)],
)
def test_tracking_is_on_unless_switched_off(
    track: bool | None, word: str, kind: type[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLAX_TRACK", word)
    assert type(tracker_for(track, None)) is kind


def test_a_switch_that_is_neither_on_nor_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_TRACK", "maybe")
    with pytest.raises(UsageError, match="it is on or off"):
        tracker_for(None, None)

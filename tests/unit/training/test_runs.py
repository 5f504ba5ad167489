"""A run's folder: its record, its history, and which of several is to be resumed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import UsageError
from models.metadata import Accuracy, Counts, TrainingFacts
from training import runs
from training.recipe import load_recipe
from training.runs import Epoch, Run, RunRecord

FACTS = TrainingFacts(
    recipe="cnn",
    settings={"epochs": 1},
    data=[],
    excluded=[],
    counts=Counts(found=4, unreadable=0, in_excluded_set=0, conflicting_duplicates=0, train=2, validation=2),
    parameters=10,
    epochs=1,
    best_epoch=1,
    validation=Accuracy(correct=1, images=2, value=0.5, low=0.1, high=0.9),
    minutes=1,
    usd=0.1,
    usd_per_hour=6,
    seed=1,
    cores=2,
    libraries={},
    finished=datetime(2026, 1, 1, tzinfo=UTC),
)


def record(name: str = "cnn", facts: TrainingFacts | None = None) -> RunRecord:
    return RunRecord(name=name, recipe=load_recipe("cnn"), sources=["a.zip"], excluded=[], seed=1, usd_per_hour=0.1, facts=facts)


class Clock:
    """Stands in for `datetime` in `training.runs`."""

    hour = 12

    @classmethod
    def now(cls, tz: object) -> datetime:
        return datetime(2026, 11, 23, cls.hour, 30, 59, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(runs, "datetime", Clock)
    monkeypatch.setattr(Clock, "hour", 12)
    return Clock


def test_a_run_s_folder_is_named_after_model_and_time(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs", record())
    assert run.folder == tmp_path / "runs" / "cnn-20261123-123059"
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [Run.create(tmp_path, record()).folder.name for _ in range(3)]
    assert names == ["cnn-20261123-123059", "cnn-20261123-123059-2", "cnn-20261123-123059-3"]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run.create(tmp_path, record())
    assert run.read() == record()
    changed = record(facts=FACTS).model_copy(update={"labels": ["Straße", "See"]})
    run.write(changed)
    assert run.read() == changed
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b'{"name": "cnn"}', b"\xff"], ids=["missing", "empty", "cut", "other", "binary"]
)
def test_a_folder_without_a_sound_record_is_no_run(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UsageError, match="is not the folder of a training run"):
        Run(tmp_path).read()


def test_the_newest_unfinished_run_of_the_name_is_resumed(tmp_path: Path, clock: type[Clock]) -> None:
    wanted = None
    for hour, name, facts in [
        (9, "cnn", None),
        (10, "cnn", None),
        (11, "cnn", FACTS),
        (13, "cnn-large", None),
        (14, "cnn_residual", None),
    ]:
        clock.hour = hour
        run = Run.create(tmp_path, record(name, facts))
        if hour == 10:
            wanted = run.folder
    assert Run.newest(tmp_path, "cnn").folder == wanted
    assert Run.newest(tmp_path, "cnn-large").folder.name == "cnn-large-20261123-133059"


def test_of_two_runs_of_one_second_the_later_is_resumed(tmp_path: Path) -> None:
    Run.create(tmp_path, record())
    later = Run.create(tmp_path, record())
    assert Run.newest(tmp_path, "cnn").folder == later.folder


@pytest.mark.parametrize("made", [True, False])
def test_without_an_unfinished_run_there_is_nothing_to_resume(tmp_path: Path, made: bool) -> None:
    if made:
        Run.create(tmp_path, record(facts=FACTS))
        (tmp_path / "cnn-notes").mkdir()
    with pytest.raises(UsageError, match="no unfinished run of 'cnn' under"):
        Run.newest(tmp_path, "cnn")
    with pytest.raises(UsageError):
        Run.newest(tmp_path / "nowhere", "cnn")


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, seconds=1.5, loss=0.1 / number, accuracy=0.5, val_loss=0.2, val_accuracy=1 / 3)


def test_history_grows_by_a_line_an_epoch(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.history() == []
    for number in (1, 2, 3):
        run.append(epoch(number))
    assert run.history() == [epoch(1), epoch(2), epoch(3)]
    assert len((tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()) == 3


def test_a_line_that_was_cut_short_by_a_kill_does_not_count(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.append(epoch(1))
    with (tmp_path / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 2, "sec')
    assert run.history() == [epoch(1)]


def test_the_best_epoch_is_the_most_accurate_and_of_equals_the_least_wrong(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number, (accuracy, loss) in enumerate([(0.7, 0.1), (0.8, 0.5), (0.8, 0.4), (0.8, 0.6)], 1):
        run.append(epoch(number).model_copy(update={"val_accuracy": accuracy, "val_loss": loss}))
    assert run.best_epoch().epoch == 3


def test_a_discarded_run_leaves_nothing(tmp_path: Path) -> None:
    Run.create(tmp_path, record()).discard()
    assert list(tmp_path.iterdir()) == []

"""`parallax train` and `parallax export`, as far as they go without TensorFlow."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from models.errors import DatasetError, UsageError
from tests.support.images import labelled, write_folder
from training import cnn, transfer
from training.cli import train_app
from training.recipe import Recipe
from training.runs import Run
from training.sweep.cli import mount
from training.tracking.tracker import Tracker
from training.transfer_recipe import TransferRecipe


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are kept."""
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PARALLAX_MODELS_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    return tmp_path / "data"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Run]:
    """Runs that would now be trained."""
    runs: list[Run] = []

    def train(run: Run, store: object, **_: object) -> Path:
        runs.append(run)
        return tmp_path / "store" / "cnn" / "1"

    monkeypatch.setattr(cnn, "train", train)
    monkeypatch.setattr(transfer, "train", train)
    return runs


def call(*args: str | Path, command: str = "cnn") -> Result:
    return CliRunner().invoke(train_app, [command, *map(str, args)], catch_exceptions=False)


def test_a_run_is_told_what_the_line_says(started: list[Run], data: Path) -> None:
    result = call("--data", "a.zip", "b.zip", "--exclude", "test.zip", "--leave-out", "sea/1.jpg", "--seed", "3", "--epochs", "2")
    record = started[0].read()
    assert isinstance(record.recipe, Recipe)
    assert started[0].folder.parent == data / "runs"
    assert (record.name, record.sources, record.excluded) == ("cnn", ["a.zip", "b.zip"], ["test.zip"])
    assert (record.left_out, record.seed, record.recipe.epochs, record.recipe.batch_size) == (["sea/1.jpg"], 3, 2, 64)
    assert record.usd_per_hour == pytest.approx(2 * 0.048)
    assert result.stdout.strip().endswith("store/cnn/1")


@pytest.mark.parametrize("command", ["cnn", "transfer"])
def test_a_run_is_tracked_unless_the_line_or_the_environment_says_no(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[str] = []

    def train(*_: object, tracker: Tracker, **__: object) -> Path:
        kinds.append(type(tracker).__name__)
        return Path("store")

    monkeypatch.setattr(cnn, "train", train)
    monkeypatch.setattr(transfer, "train", train)
    monkeypatch.setenv("PARALLAX_TRACK", "on")
    for words in ([], ["--no-track"], ["--track", "--experiment", "mine"]):
        call("--data", "a.zip", *words, command=command)
    assert kinds == ["MlflowTracker", "Tracker", "MlflowTracker"]


def test_network_and_name_are_chosen_apart(started: list[Run]) -> None:
    call("--data", "a.zip", "--network", "residual")
    call("--data", "a.zip", "--network", "residual", "--name", "mine", "--usd-per-hour", "0")
    assert [run.read().name for run in started] == ["cnn_residual", "mine"]
    assert {run.read().recipe.kind for run in started} == {"residual"}
    assert started[1].read().usd_per_hour == 0


@pytest.mark.parametrize("name", ["Mine", "a/b", "../evil", ""])
def test_a_name_that_can_t_be_one_is_refused_before_a_run_begins(started: list[Run], data: Path, name: str) -> None:
    if name:
        with pytest.raises(UsageError, match="can't be a model's name"):
            call("--data", "a.zip", "--name", name)
        assert not data.exists()
    else:
        call("--data", "a.zip", "--name", name)
        assert started[0].read().name == "cnn"


def test_a_run_is_resumed_with_the_same_settings_only(started: list[Run]) -> None:
    call("--data", "a.zip", "--seed", "3")
    started[0].write(started[0].read().model_copy(update={"labels": ["dark", "bright"]}))
    call("--data", "a.zip", "--seed", "3", "--resume", "--usd-per-hour", "9")
    assert started[1].folder == started[0].folder
    for other in (["--seed", "4"], ["--seed", "3", "--epochs", "9"], ["--seed", "3", "--leave-out", "sea/1.jpg"]):
        with pytest.raises(UsageError, match="was started with other data or settings"):
            call("--data", "a.zip", "--resume", *other)
    with pytest.raises(UsageError, match="no unfinished run of 'other'"):
        call("--data", "a.zip", "--resume", "--name", "other")
    assert len(started) == 2


def test_a_run_that_never_learnt_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "scenes", {**labelled({"dark": 3, "bright": 3}), "dark/bad.jpg": b"no image"})
    with pytest.raises(DatasetError, match=r"dark/bad\.jpg"):
        call("--data", source)
    assert list((data / "runs").iterdir()) == []


def test_transfer_learning_is_told_what_the_line_says(started: list[Run], data: Path) -> None:
    call("--data", "a.zip", "b.zip", "--exclude", "test.zip", "--leave-out", "sea/1.jpg", "--mirrored", command="transfer")
    call(
        *("--data", "a.zip", "--backbone", "mobilenetv2", "--image-size", "96", "--weights", "w.h5", "--name", "mine"),
        *("--fine-tune", "--share", "0.5", "--fine-tune-epochs", "3", "--head-epochs", "4"),
        command="transfer",
    )
    first, second = (run.read() for run in started)
    assert (first.name, first.sources, first.excluded, first.left_out) == (
        "transfer",
        ["a.zip", "b.zip"],
        ["test.zip"],
        ["sea/1.jpg"],
    )
    assert isinstance(first.recipe, TransferRecipe)
    assert (first.recipe.backbone, first.recipe.mirrored, first.recipe.fine_tune) == ("efficientnet_lite0", True, None)
    assert isinstance(second.recipe, TransferRecipe)
    assert (second.name, second.recipe.backbone, second.recipe.height, second.recipe.weights) == (
        "mine",
        "MobileNetV2",
        96,
        "w.h5",
    )
    assert second.recipe.fine_tune
    assert (second.recipe.fine_tune.share, second.recipe.fine_tune.epochs, second.recipe.head.epochs) == (0.5, 3, 4)


def test_transfer_learning_is_resumed_with_the_same_settings_only(started: list[Run]) -> None:
    call("--data", "a.zip", command="transfer")
    call("--data", "a.zip", "--resume", command="transfer")
    assert started[0].folder == started[1].folder
    for other in (["--fine-tune"], ["--mirrored"], ["--backbone", "resnet50"], ["--image-size", "128"]):
        with pytest.raises(UsageError, match="was started with other data or settings"):
            call("--data", "a.zip", "--resume", *other, command="transfer")


def test_a_wrong_backbone_is_refused_before_a_run_begins(started: list[Run], data: Path) -> None:
    with pytest.raises(UsageError, match="there is no backbone 'resnet51'"):
        call("--data", "a.zip", "--backbone", "resnet51", command="transfer")
    assert not data.exists()


def test_a_sweep_whose_winner_stays_frozen_has_nothing_to_learn_from_a_teacher() -> None:
    with pytest.raises(UsageError, match="--no-fine-tune"):
        sweep("--data", "a.zip", "--teacher", "better", "--no-fine-tune")
    with pytest.raises(UsageError, match="name one with --teacher"):
        sweep("--data", "a.zip", "--distill-weight", "0.3")


def sweep(*args: str) -> Result:
    app = typer.Typer()
    mount(app)
    app.command()(lambda: None)
    return CliRunner().invoke(app, ["automl", *args], catch_exceptions=False)

"""The loop: what a run leaves behind, going on after a stop, and what Ctrl-C keeps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.errors import UsageError
from tests.unit.training.small import SIDE, small_batches, small_network, small_recipe, small_run, small_set
from training import fit as fitting
from training.callbacks import EpochProgress, keepers
from training.runs import Epoch, Run

SEED = 7


def fit(run: Run, epochs: int = 3, average: float = 0, callbacks: Sequence[keras.callbacks.Callback] = ()) -> bool:
    fitting.use_machine(SEED)
    recipe = small_recipe(epochs).model_copy(update={"average": average})
    return fitting.fit(run, recipe, lambda: small_network(SIDE, SIDE, 2, 0), small_batches(), SEED, callbacks=callbacks)


def weights(path: Path) -> list[np.ndarray]:
    return [np.asarray(array) for array in keras.models.load_model(path, compile=False).get_weights()]


def stop_at(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int = 1) -> None:
    """Press Ctrl-C in the middle of an epoch, counted from 1."""
    begun = 0

    def on_epoch_begin(self: EpochProgress, number: int, logs: dict[str, Any] | None = None) -> None:
        nonlocal begun
        begun = number + 1

    def on_train_batch_end(self: EpochProgress, number: int, logs: dict[str, Any] | None = None) -> None:
        if (begun, number) == (epoch, batch):
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochProgress, "on_epoch_begin", on_epoch_begin)
    monkeypatch.setattr(EpochProgress, "on_train_batch_end", on_train_batch_end)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three epochs that nobody stopped."""
    run = small_run(tmp_path_factory.mktemp("runs"))
    assert fit(run)
    return run


def test_a_run_leaves_its_history_its_best_and_its_last_weights(finished: Run) -> None:
    history = finished.history()
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert {path.name for path in finished.folder.iterdir()} == {"run.json", "history.jsonl", "best.keras", "last.keras"}
    model = keras.models.load_model(finished.best, compile=False)
    data = small_set()
    right = fitting.predict(model, data.pixels[data.validation]).argmax(axis=1) == data.targets[data.validation]
    assert right.mean() == pytest.approx(max(epoch.val_accuracy for epoch in history))


def test_a_run_that_was_stopped_and_resumed_ends_as_if_it_never_was(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path)
    with monkeypatch.context() as patch:
        stop_at(patch, epoch=3)
        assert not fit(run)
    assert [epoch.epoch for epoch in run.history()] == [1, 2]
    run.best.write_bytes(b"it goes on from the last weights, not from the best")
    assert fit(run)
    assert [epoch.epoch for epoch in run.history()] == [1, 2, 3]
    for resumed, straight in zip(run.history(), finished.history(), strict=True):
        assert resumed.loss == pytest.approx(straight.loss, abs=1e-5)
    for array, expected in zip(weights(run.last), weights(finished.last), strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-5)


def test_ctrl_c_keeps_the_best_epoch_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run(tmp_path)
    stop_at(monkeypatch, epoch=2)
    assert not fit(run)
    assert [epoch.epoch for epoch in run.history()] == [1]
    assert run.best_epoch().epoch == 1
    for best, last in zip(weights(run.best), weights(run.last), strict=True):
        np.testing.assert_array_equal(best, last)


def test_ctrl_c_in_the_first_epoch_has_nothing_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run(tmp_path)
    stop_at(monkeypatch, epoch=1)
    with pytest.raises(UsageError, match="before the first epoch ended"):
        fit(run)
    assert run.history() == []


def test_ctrl_c_while_the_first_epoch_is_written_down_keeps_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path)

    def append(_: Run, epoch: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "append", append)
    try:
        fit(run)
    except UsageError:
        return
    assert run.best_epoch().epoch == 1


def test_the_best_weights_are_replaced_by_better_ones_only(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    model = small_network(32, 32, 2, 0)

    def end_epoch(number: int, kept: Sequence[keras.callbacks.Callback], accuracy: float, loss: float) -> None:
        model.set_weights([np.full_like(array, number) for array in model.get_weights()])
        for callback in kept:
            callback.set_model(model)
            callback.on_epoch_begin(number - 1)
            callback.on_epoch_end(number - 1, {"loss": 1, "accuracy": 0, "val_loss": loss, "val_accuracy": accuracy})

    kept = keepers(run, [], average=False)
    for number, accuracy, loss, best in [(1, 0.5, 0.9, 1), (2, 0.8, 0.9, 2), (3, 0.7, 0.1, 2), (4, 0.8, 0.8, 4)]:
        end_epoch(number, kept, accuracy, loss)
        assert {array.flat[0] for array in weights(run.last)} == {number}
        assert {array.flat[0] for array in weights(run.best)} == {best} == {run.best_epoch().epoch}
    end_epoch(5, keepers(run, run.history(), average=False), 0.79, 0.1)  # resumed
    assert {array.flat[0] for array in weights(run.best)} == {4}
    assert not list(run.folder.glob("part-*"))


def test_a_star_marks_the_epochs_that_were_the_best_so_far_in_later_commands_too(tmp_path: Path, capsys: Any) -> None:  # noqa: ANN401
    run = small_run(tmp_path)
    progress = EpochProgress(run, epochs=5, steps=1)
    values = [(0.5, 0.9), (0.5, 0.8), (0.4, 0.1), (0.5, 0.8)]
    for number, (accuracy, loss) in enumerate(values, 1):
        line = Epoch(epoch=number, seconds=60, loss=1, accuracy=0, val_loss=loss, val_accuracy=accuracy)
        run.append(line)
        progress.on_epoch_end(number - 1, {})
    progress = EpochProgress(run, epochs=5, steps=1)
    run.append(Epoch(epoch=5, seconds=60, loss=1, accuracy=0, val_loss=0.9, val_accuracy=0.5))
    progress.on_epoch_end(4, {})
    said = capsys.readouterr().err.splitlines()
    assert [" * " in line for line in said] == [True, True, False, False, False]
    assert said[1].startswith("epoch   2/5  ")
    assert said[1].endswith("val loss 0.800  val accuracy 0.5000 *  60 s, 3 min left")


class Notes(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Weights after every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps.append([variable.numpy() for variable in self.model.trainable_variables])


def test_an_average_of_the_weights_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    run, notes = small_run(tmp_path), Notes()
    assert fit(run, epochs=2, average=0.5, callbacks=[notes])
    assert len(notes.steps) == 6
    expected = notes.steps[0]
    for number, step in enumerate(notes.steps[1:], 2):
        expected = [0.5 * mean + 0.5 * array for mean, array in zip(expected, step, strict=True)]
        if number == 3 * run.best_epoch().epoch:
            break
    model = keras.models.load_model(run.best, compile=False)
    for variable, array in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), array, atol=1e-5)
    data = small_set()
    right = fitting.predict(model, data.pixels[data.validation]).argmax(axis=1) == data.targets[data.validation]
    assert right.mean() == pytest.approx(run.best_epoch().val_accuracy)
    newest = keras.models.load_model(run.last, compile=False)
    for variable, array in zip(newest.trainable_variables, notes.steps[-1], strict=True):
        np.testing.assert_allclose(variable.numpy(), array, atol=1e-5)


def test_a_run_with_an_average_is_resumed_as_if_it_was_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, run = small_run(tmp_path / "straight"), small_run(tmp_path / "stopped")
    assert fit(straight, average=0.9)
    with monkeypatch.context() as patch:
        stop_at(patch, epoch=2)
        assert not fit(run, average=0.9)
    assert fit(run, average=0.9)
    for resumed, other in zip(run.history(), straight.history(), strict=True):
        assert (resumed.loss, resumed.val_loss) == pytest.approx((other.loss, other.val_loss), abs=1e-5)
    for array, expected in zip(weights(run.last), weights(straight.last), strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-5)


def test_a_finished_stage_is_left_as_it_is(finished: Run) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    assert fit(finished)
    assert {path.name: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before


def test_a_callback_ends_the_training_with_what_it_raises_once_the_epoch_is_kept(tmp_path: Path) -> None:
    class Hopeless(Exception):
        pass

    class Judge(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            if epoch == 1:
                raise Hopeless

    run = small_run(tmp_path)
    with pytest.raises(Hopeless):
        fit(run, callbacks=[Judge()])
    assert [epoch.epoch for epoch in run.history()] == [1, 2]

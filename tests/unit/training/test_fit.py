"""The loop: what a run leaves behind, going on after a stop, and what Ctrl-C keeps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.errors import UsageError
from tests.unit.training.small import small_network, small_recipe, small_run, small_set
from training import fit as fitting
from training.callbacks import Checkpoint, EpochProgress
from training.networks import NETWORKS
from training.recipe import AugmentationSettings
from training.runs import Run

SEED = 7


@pytest.fixture(autouse=True)
def _small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "residual", small_network)


def fit(run: Run, epochs: int = 3) -> bool:
    fitting.use_machine(SEED)
    return fitting.fit(run, small_recipe(epochs), small_set(), SEED)


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
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of three epochs that nobody stopped."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(NETWORKS, "residual", small_network)
        run = small_run(tmp_path_factory.mktemp("runs"))
        assert fit(run)
        yield run


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

    def end_epoch(number: int, checkpoint: Checkpoint, accuracy: float, loss: float) -> None:
        model.set_weights([np.full_like(array, number) for array in model.get_weights()])
        checkpoint.set_model(model)
        checkpoint.on_epoch_begin(number - 1)
        checkpoint.on_epoch_end(number - 1, {"loss": 1, "accuracy": 0, "val_loss": loss, "val_accuracy": accuracy})

    checkpoint = Checkpoint(run, [])
    for number, accuracy, loss, best in [(1, 0.5, 0.9, 1), (2, 0.8, 0.9, 2), (3, 0.7, 0.1, 2), (4, 0.8, 0.8, 4)]:
        end_epoch(number, checkpoint, accuracy, loss)
        assert {array.flat[0] for array in weights(run.last)} == {number}
        assert {array.flat[0] for array in weights(run.best)} == {best} == {run.best_epoch().epoch}
    end_epoch(5, Checkpoint(run, run.history()), 0.79, 0.1)  # resumed
    assert {array.flat[0] for array in weights(run.best)} == {4}
    assert not list(run.folder.glob("part-*"))


def epochs_seen(first_epoch: int, count: int, seed: int = SEED) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    batches = fitting._training_batches(small_set(), small_recipe(), seed, first_epoch=first_epoch)
    return [[(images.numpy(), targets.numpy()) for images, targets in batches] for _ in range(count)]


def test_batches_follow_from_seed_and_epoch_alone() -> None:
    straight, resumed, other = epochs_seen(0, 3), epochs_seen(2, 1), epochs_seen(0, 1, seed=8)
    for (images, targets), (images_again, targets_again) in zip(straight[2], resumed[0], strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(targets, targets_again)
    firsts = [epoch[0][0] for epoch in (*straight, *other)]
    assert all(not np.array_equal(a, b) for place, a in enumerate(firsts) for b in firsts[:place])


def test_an_epoch_shows_every_training_image_once_in_an_order_of_its_own() -> None:
    data = small_set()
    recipe = small_recipe().model_copy(update={"augmentation": AugmentationSettings()})
    batches = fitting._training_batches(data, recipe, SEED, first_epoch=0)
    assert int(batches.cardinality()) == 3
    first, second = (list(batches) for _ in range(2))
    assert [len(images) for images, _ in first] == [8, 8, 4]
    orders = []
    for epoch in (first, second):
        images = np.rint(np.concatenate([images.numpy() for images, _ in epoch])).astype(np.uint8)
        targets = np.concatenate([targets.numpy() for _, targets in epoch]).argmax(axis=1)
        rows = [int(np.flatnonzero((data.pixels == image).all(axis=(1, 2, 3)))[0]) for image in images]
        np.testing.assert_array_equal(targets, data.targets[rows])
        orders.append(rows)
    assert sorted(orders[0]) == sorted(orders[1]) == data.train.tolist()
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_validation_images_are_seen_as_they_are() -> None:
    data = small_set()
    batches = list(fitting._validation_batches(data, batch_size=4))
    np.testing.assert_array_equal(np.concatenate([images.numpy() for images, _ in batches]), data.pixels[data.validation])
    np.testing.assert_array_equal(
        np.concatenate([targets.numpy() for _, targets in batches]).argmax(axis=1), data.targets[data.validation]
    )

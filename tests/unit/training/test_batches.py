"""Batches follow from seed and epoch alone: pixels in new views, or cached rows in one of several."""

import numpy as np
import pytest

from tests.unit.training.small import small_batches, small_set
from training.augment import Augmentation
from training.batches import Batches, CachedRows

SEED = 7


def small_rows(views: int = 3, *, mixup: float = 0.0) -> CachedRows:
    """Rows of 20 training images, (image, view) in each, and of 6 to validate with."""
    data = small_set()
    rows = [np.array([[image, number] for image in range(20)], np.float16) for number in range(views)]
    validation = np.arange(12, dtype=np.float16).reshape(6, 2)
    return CachedRows(rows, validation, data.targets[data.train], data.targets[data.validation], 2, mixup=mixup)


def epochs_seen(batches: Batches, first_epoch: int, count: int, seed: int = SEED) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    dataset = batches.training(8, seed, range(first_epoch, 9))
    return [[(inputs.numpy(), targets.numpy()) for inputs, targets in dataset] for _ in range(count)]


@pytest.mark.parametrize("batches", [small_batches(), small_rows(), small_rows(mixup=0.4)], ids=["pixels", "rows", "mixed rows"])
def test_batches_follow_from_seed_and_epoch_alone(batches: Batches) -> None:
    straight, resumed, other = epochs_seen(batches, 0, 3), epochs_seen(batches, 2, 1), epochs_seen(batches, 0, 1, seed=8)
    for (images, targets), (images_again, targets_again) in zip(straight[2], resumed[0], strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(targets, targets_again)
    firsts = [epoch[0][0] for epoch in (*straight, *other)]
    assert all(not np.array_equal(a, b) for place, a in enumerate(firsts) for b in firsts[:place])


def test_an_epoch_shows_every_training_image_once_in_an_order_of_its_own() -> None:
    data = small_set()
    batches = small_batches(Augmentation()).training(8, SEED, range(2))
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
    batches = list(small_batches().validation(4))
    np.testing.assert_array_equal(np.concatenate([images.numpy() for images, _ in batches]), data.pixels[data.validation])
    np.testing.assert_array_equal(
        np.concatenate([targets.numpy() for _, targets in batches]).argmax(axis=1), data.targets[data.validation]
    )


def test_an_epoch_shows_every_image_once_in_one_of_its_views() -> None:
    data, rows = small_set(), small_rows()
    seen = []
    for epoch in epochs_seen(rows, 0, 4):
        assert [len(inputs) for inputs, _ in epoch] == [8, 8, 4]
        inputs = np.concatenate([inputs for inputs, _ in epoch]).astype(int)
        targets = np.concatenate([targets for _, targets in epoch]).argmax(axis=1)
        np.testing.assert_array_equal(targets, data.targets[inputs[:, 0]])
        assert sorted(inputs[:, 0]) == list(range(20))
        assert set(inputs[:, 1]) == {0, 1, 2}
        seen.append(inputs[inputs[:, 0].argsort(), 1].tolist())
    assert len({tuple(views) for views in seen}) == 4, "every epoch shows the same views"


def test_cached_rows_are_validated_as_they_are() -> None:
    inputs, targets = zip(*small_rows().validation(4), strict=True)
    assert [len(batch) for batch in inputs] == [4, 2]
    np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch in inputs]), np.arange(12).reshape(6, 2))
    data = small_set()
    found = np.concatenate([batch.numpy() for batch in targets]).argmax(axis=1)
    np.testing.assert_array_equal(found, data.targets[data.validation])


def test_mixed_rows_and_their_targets_are_mixed_alike() -> None:
    data = small_set()
    targets = data.targets[data.train]
    names = np.eye(20, dtype=np.float16)  # a row that names its image tells, once mixed, of what and how much
    rows = CachedRows([names], names[:6], targets, data.targets[data.validation], 2, mixup=0.4)
    inputs, mixed = (np.concatenate(parts) for parts in zip(*epochs_seen(rows, 0, 1)[0], strict=True))
    np.testing.assert_allclose(inputs.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mixed, inputs @ np.eye(2)[targets], atol=1e-5)
    largest = inputs.max(axis=1)
    assert (largest >= 0.5).all()
    assert (largest < 0.99).any()
    assert sorted(inputs.argmax(axis=1)) == list(range(20)), "the larger part must name the row"

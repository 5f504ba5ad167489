"""Random views: the image itself if nothing is asked for, the same view for the same seed, targets that follow."""

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.images import picture
from training.augment import Augmentation, view

IMAGES = np.stack([np.asarray(picture(24, 20, seed=seed)) for seed in range(16)])
TARGETS = np.eye(16, dtype=np.float32)

Floats = npt.NDArray[np.float32]


def seen(settings: Augmentation, seed: int = 1, height: int = 20, width: int = 24) -> tuple[Floats, Floats]:
    images, targets = view(settings, height, width)(IMAGES, TARGETS, np.array([seed, 2], np.int64))
    return np.asarray(images), np.asarray(targets)


def test_without_settings_a_view_is_the_image_itself() -> None:
    images, targets = seen(Augmentation())
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, IMAGES, atol=0.01)
    np.testing.assert_array_equal(targets, TARGETS)


def test_a_view_has_the_size_that_is_trained_on() -> None:
    assert seen(Augmentation(), height=12, width=8)[0].shape == (16, 12, 8, 3)


EVERYTHING = Augmentation(min_area=0.4, aspect=0.4, flip=True, brightness=0.3, contrast=0.3, saturation=0.3, mixup=0.2)


def test_a_view_follows_from_its_seed() -> None:
    first, again, other = seen(EVERYTHING, 1), seen(EVERYTHING, 1), seen(EVERYTHING, 2)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_flip_mirrors_some_images_and_leaves_the_others() -> None:
    images, _ = seen(Augmentation(flip=True))
    mirrored = np.abs(images - IMAGES[:, :, ::-1]).max(axis=(1, 2, 3)) < 0.01
    plain = np.abs(images - IMAGES).max(axis=(1, 2, 3)) < 0.01
    assert (mirrored ^ plain).all()
    assert 2 < mirrored.sum() < 14


def crops(settings: Augmentation) -> tuple[Floats, Floats]:
    """Shares of the width and of the height that 16 crops keep, read off an image that rises from 0 to 1 both ways."""
    down, across = np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 1, 24), indexing="ij")
    ramps = np.repeat(np.stack([across, down, down], axis=2)[np.newaxis].astype(np.float32), 16, axis=0)
    images = np.asarray(view(settings, 20, 24)(ramps, TARGETS, np.array([1, 2], np.int64))[0])
    return images[:, 10, -1, 0] - images[:, 10, 0, 0], images[:, -1, 10, 1] - images[:, 0, 10, 1]


def test_a_crop_keeps_its_share_of_the_image_and_its_shape() -> None:
    wide, high = crops(Augmentation(min_area=0.3))
    np.testing.assert_allclose(wide, high, atol=1e-4)
    assert (wide * high >= 0.3 - 1e-4).all()
    assert (wide * high <= 1 + 1e-4).all()
    assert np.ptp(wide * high) > 0.3


def test_crops_of_another_aspect_are_wider_or_higher() -> None:
    wide, high = crops(Augmentation(min_area=0.3, aspect=0.4))
    shape = np.log(wide / high)
    assert (np.abs(shape) <= 0.4 + 1e-4).all()
    assert shape.min() < -0.1
    assert shape.max() > 0.1


@pytest.mark.parametrize(
    "settings",
    [Augmentation(brightness=0.3), Augmentation(contrast=0.3), Augmentation(saturation=0.3)],
    ids=["brightness", "contrast", "saturation"],
)
def test_colours_change_within_bounds_and_stay_colours(settings: Augmentation) -> None:
    images, _ = seen(settings)
    assert images.min() >= 0
    assert images.max() <= 255
    assert (np.abs(images - IMAGES).max(axis=(1, 2, 3)) > 1).sum() > 12, "images were left as they were"
    if settings.brightness:
        share = images.mean(axis=(1, 2, 3)) / IMAGES.mean(axis=(1, 2, 3))
        assert (share > 0.69).all()
        assert (share < 1.31).all()


def test_mixed_targets_say_what_was_mixed() -> None:
    images, targets = seen(Augmentation(mixup=1.0))
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    share = targets.diagonal()
    assert (share >= 0.5).all(), "the larger part must name the image"
    expected = IMAGES * share[:, None, None, None] + IMAGES[::-1] * (1 - share)[:, None, None, None]
    np.testing.assert_allclose(images, expected, atol=0.05)

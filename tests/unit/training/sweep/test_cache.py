"""Features are computed once for each backbone, size and view, whoever asks first."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FixedTrial

from models.errors import DatasetError, UsageError
from tests.support.images import labelled, write_folder
from tests.unit.training.small import SIDE, small_backbone
from training import backbones, features
from training.sweep.cache import FeatureCache
from training.sweep.candidate import Candidate, draw
from training.sweep.images import Images, Sources
from training.sweep.space import Space

SPACE = Space.model_validate(
    {
        "weights": "random",
        "augmentation": {"flip": True, "min_area": 0.5},
        "parameters": {"model_name": "efficientnet_lite0", "image_size": SIDE},
    }
)
ONE = draw(SPACE, FixedTrial({}))


@pytest.fixture
def images(tmp_path: Path) -> Images:
    photos = write_folder(tmp_path / "photos", labelled({"dark": 10, "bright": 10}))
    return Images(tmp_path / "images", Sources([str(photos)], [], []))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Backbones that were built, by name; their weights are random, and the same again."""
    names: list[str] = []

    def build(name: str, *_: Any, **__: Any) -> backbones.Backbone:  # noqa: ANN401
        names.append(name)
        return small_backbone(name)

    monkeypatch.setattr(backbones, "build", build)
    return names


def cache(tmp_path: Path, images: Images, budget: int = 10**9) -> FeatureCache:
    return FeatureCache(tmp_path / "features", images, SPACE, 1, budget)


def other(**changes: object) -> Candidate:
    return ONE.model_copy(update=changes)


def test_who_comes_second_finds_what_the_first_computed(tmp_path: Path, images: Images, built: list[str]) -> None:
    first = cache(tmp_path, images).of(ONE)
    second = cache(tmp_path, images).of(other(learning_rate=0.1))
    assert built == ["efficientnet_lite0"]
    assert len(first.cached.views) == 2
    np.testing.assert_array_equal(first.cached.views[1], second.cached.views[1])
    assert first.parameters == small_backbone().model.count_params()
    assert cache(tmp_path, images).seconds() == pytest.approx(first.cached.seconds)


def test_two_that_want_the_same_at_once_compute_it_once(tmp_path: Path, images: Images, built: list[str]) -> None:
    images.at(SIDE)
    told: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: cache(tmp_path, images).of(ONE, told.append), range(2)))
    assert built == ["efficientnet_lite0"]
    np.testing.assert_array_equal(found[0].cached.validation, found[1].cached.validation)
    assert "efficientnet_lite0 at 32: 100 %" in told


def test_joined_backbones_stand_side_by_side_and_are_not_run_again(tmp_path: Path, images: Images, built: list[str]) -> None:
    both = other(model_name="efficientnet_lite0+efficientnet_lite2")
    features = cache(tmp_path, images)
    parts = [features.of(other(model_name=name)).cached for name in both.parts]
    joined = features.of(both)
    assert built == both.parts
    for number, view in enumerate(joined.cached.views):
        np.testing.assert_array_equal(view, np.concatenate([part.views[number] for part in parts], axis=1))
    assert joined.cached.validation.shape == (2, 12)
    assert joined.parameters == 2 * small_backbone().model.count_params()
    assert joined.cached.seconds == pytest.approx(sum(part.seconds for part in parts))


def test_more_crops_join_those_that_are_there(tmp_path: Path, images: Images, built: list[str]) -> None:
    run: list[str] = []

    def tell(text: str) -> None:
        run.append(text)

    one = cache(tmp_path, images).of(other(crops=1), tell)
    assert len(one.cached.views) == 3
    assert len(run) == 1 + 38 + 20, "a wait; 18 images and their mirror images, 2 to validate; the crops, and those 2 again"
    run.clear()
    two = cache(tmp_path, images).of(other(crops=2), tell)
    assert len(run) == 18 + 1, "a wait, and the second crop"
    np.testing.assert_array_equal(one.cached.views[2], two.cached.views[2])
    assert (np.asarray(two.cached.views[2]) != np.asarray(two.cached.views[3])).any()


def test_strength_has_a_cache_of_its_own(tmp_path: Path, images: Images, built: list[str]) -> None:
    full, none = (cache(tmp_path, images).of(other(crops=1, augmentation_strength=strength)).cached for strength in (1, 0))
    np.testing.assert_array_equal(full.views[0], none.views[0])
    assert (np.asarray(full.views[2]) != np.asarray(none.views[2])).any()


def test_features_beyond_the_budget_are_refused(tmp_path: Path, images: Images, built: list[str]) -> None:
    with pytest.raises(UsageError, match="--max-cache-gb"):
        cache(tmp_path, images, budget=100).of(ONE)


def test_images_are_decoded_once_for_all_processes(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    first = images.at(SIDE)
    fresh = Images(images._folder, Sources(["gone.zip"], [], []))
    again = fresh.at(SIDE)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert replace(again, pixels=first.pixels, targets=first.targets, train=first.train, validation=first.validation) == first
    np.testing.assert_array_equal(first.validation, again.validation)
    fresh.remove()
    with pytest.raises(DatasetError, match="gone"):
        fresh.at(SIDE)


def test_views_may_be_crops_alone() -> None:
    assert features.Views(crops=2, plain=False).names == ["crop0", "crop1"]

"""Cached rows are what the network gives, once per image and view, however often the work was cut short."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from models.errors import UsageError
from tests.unit.training.small import EVERYTHING, SIDE, small_set
from training import features as caching
from training.augment import Augmentation, view
from training.features import Cached, Views, cache_key, check_room, features, size


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Gives a feature map, so that rows have shapes of their own."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=8, activation="relu")(x))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "CHUNK", 3)
    monkeypatch.setenv("PARALLAX_CPUS", "2")


VIEWS = Views(mirror=True, crops=2, augmentation=EVERYTHING, seed=4)


class Caching:
    """Fills a cache, and counts the rows that were computed."""

    def __init__(self, folder: Path, network: keras.Model) -> None:
        self.folder, self.network = folder, network
        self.computed = 0
        self.stop_after = 10**9

    def __call__(self, views: Views = VIEWS, key: str = "key") -> Cached:
        return features(
            self.folder, self.network, small_set(), views, key=key, text="rows", progress=lambda _text, _total: self._advance
        )

    def _advance(self) -> None:
        if self.computed == self.stop_after:
            raise KeyboardInterrupt
        self.computed += 1


@pytest.fixture
def cache(tmp_path: Path, network: keras.Model) -> Caching:
    return Caching(tmp_path / "cache", network)


def test_rows_are_what_the_network_gives_directly(cache: Caching) -> None:
    cached, data = cache(), small_set()

    def given(pixels: np.ndarray) -> np.ndarray:
        return np.asarray(cache.network(pixels.astype(np.float32), training=False))

    train = data.pixels[data.train]
    np.testing.assert_allclose(cached.views[0], given(train), rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(cached.views[1], given(train[:, :, ::-1]), rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(cached.validation, given(data.pixels[data.validation]), rtol=2e-3, atol=1e-3)
    assert {array.dtype for array in (*cached.views, cached.validation)} == {np.dtype(np.float16)}
    assert [array.shape for array in cached.views] == [(20, 4, 4, 4)] * 4
    assert cache.computed == 4 * 20 + 6
    assert cached.seconds > 0
    for first in range(4):
        for second in range(first):
            assert not np.allclose(cached.views[first], cached.views[second], atol=1e-3), "two views are the same"


def test_a_crop_is_a_view_that_follows_from_seed_number_and_place() -> None:
    images = small_set().pixels[:3]
    plain = Augmentation(**(vars(EVERYTHING) | {"mixup": 0}))
    found = VIEWS.look("crop1", images, 6)
    expected = view(plain, SIDE, SIDE)(images, np.zeros((3, 1), np.float32), np.array([4, 1_000_006]))[0]
    np.testing.assert_array_equal(found, expected)
    others = [
        VIEWS.look("crop0", images, 6),
        VIEWS.look("crop1", images, 9),
        Views(crops=2, augmentation=EVERYTHING).look("crop1", images, 6),
    ]
    assert not any(np.array_equal(found, other) for other in others)


@pytest.mark.parametrize(
    ("views", "names"), [(Views(mirror=False), ["itself"]), (Views(crops=1), ["itself", "mirrored", "crop0"])]
)
def test_views_are_as_many_as_are_asked_for(views: Views, names: list[str]) -> None:
    assert views.names == names


def test_what_is_there_is_not_computed_again(cache: Caching) -> None:
    first = cache()
    cache.computed = 0
    again = cache()
    assert cache.computed == 0
    assert again.seconds == first.seconds
    np.testing.assert_array_equal(again.views[3], first.views[3])


def test_a_cache_that_was_cut_short_goes_on_and_ends_the_same(cache: Caching, tmp_path: Path, network: keras.Model) -> None:
    straight = Caching(tmp_path / "straight", network)()
    cache.stop_after = 50  # within the third view
    with pytest.raises(KeyboardInterrupt):
        cache()
    kept = json.loads((cache.folder / "cache.json").read_bytes())["rows"]
    assert (kept["itself.npy"], kept["mirrored.npy"]) == (20, 20)
    assert kept.get("crop0.npy", 0) < 20
    cache.stop_after, cache.computed = 10**9, 0
    resumed = cache()
    assert cache.computed == 4 * 20 + 6 - sum(kept.values())
    for found, expected in zip((*resumed.views, resumed.validation), (*straight.views, straight.validation), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_cache_of_something_else_is_made_anew(cache: Caching) -> None:
    cache()
    cache.computed = 0
    cache(key="another")
    assert cache.computed == 4 * 20 + 6


def test_a_file_that_was_lost_is_made_anew(cache: Caching) -> None:
    before = np.array(cache().views[1])
    (cache.folder / "mirrored.npy").unlink()
    cache.computed = 0
    np.testing.assert_array_equal(cache().views[1], before)
    assert cache.computed == 20


def test_a_key_follows_from_images_and_everything_else() -> None:
    data = small_set()
    keys = {
        cache_key(data, "a", VIEWS),
        cache_key(data, "b", VIEWS),
        cache_key(data, "a", Views()),
        cache_key(small_set(train=18), "a", VIEWS),
    }
    assert len(keys) == 4
    assert cache_key(small_set(), "a", Views(mirror=True, crops=2, augmentation=EVERYTHING, seed=4)) in keys


def test_values_that_float16_can_t_hold_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input((SIDE, SIDE, 3))
    loud = Caching(tmp_path, keras.Model(inputs, keras.layers.Rescaling(1e4)(inputs)))
    with pytest.raises(UsageError, match=r"gives values up to 2\.\d+e\+06, which float16 can't hold: freeze it elsewhere"):
        loud(Views(mirror=False))


def test_the_size_of_a_cache_is_known_beforehand(cache: Caching) -> None:
    cache()
    files = sum(path.stat().st_size for path in cache.folder.glob("*.npy"))
    wanted = size((4, 4, 4), small_set(), VIEWS)
    assert wanted == (4 * 20 + 6) * 64 * 2
    assert 0 < files - wanted < 5 * 200  # headers


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def set_free(size: int) -> None:
        monkeypatch.setattr("training.features.shutil.disk_usage", lambda _: type("Usage", (), {"free": size}))

    return set_free


def test_a_cache_over_the_budget_is_refused_with_the_ways_out(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(10**12)
    check_room(tmp_path, 2_000_000_000, 2_000_000_000)
    with pytest.raises(UsageError, match=r"would take 2\.5 GB, more than --max-cache-gb 2 allows: allow more, .*smaller share"):
        check_room(tmp_path, 2_500_000_000, 2_000_000_000)


def test_a_cache_over_what_is_free_is_refused_but_for_what_it_already_holds(tmp_path: Path, free: Callable[[int], None]) -> None:
    free(100_000)
    with pytest.raises(UsageError, match="are free at"):
        check_room(tmp_path, 150_000, 10**9)
    (tmp_path / "itself.npy").write_bytes(b"x" * 100_000)
    check_room(tmp_path, 150_000, 10**9)


def test_what_was_laid_side_by_side_comes_apart_again() -> None:
    one = Cached([np.ones((3, 2), np.float16)] * 2, np.ones((1, 2), np.float16), 2.0)
    other = Cached([np.zeros((3, 4), np.float16)] * 2, np.zeros((1, 4), np.float16), 3.0)
    joined = caching.beside([one, other])
    assert ([rows.shape for rows in joined.views], joined.validation.shape, joined.seconds) == ([(3, 6), (3, 6)], (1, 6), 5.0)
    for part, whole in zip(caching.apart(joined, [2, 4]), (one, other), strict=True):
        for found, expected in zip([*part.views, part.validation], [*whole.views, whole.validation], strict=True):
            np.testing.assert_array_equal(found, expected)

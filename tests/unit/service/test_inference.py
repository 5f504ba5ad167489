"""What a lane does with a batch: each image has its own outcome, in its own place."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from models import imaging
from models.errors import ImageError, ImageTooLarge, UnsupportedImage
from models.imaging import Limits, Pixels
from models.metadata import InputSpec
from models.runtime import OnnxModel
from service.backends.base import TooBig
from service.backends.inference import TRIES, Inference, Item, Outcome
from service.domain import Inferred
from service.errors import BackendFailed
from service.tuning import CUDA_BATCHES, CUDA_PROVIDER
from tests.support.images import encoded, exif, plain
from tests.support.models import write_graph

SPEC = InputSpec(height=32, width=32)
BIG = encoded("JPEG", 2001, 1000)
TOO_LARGE = encoded("PNG", 3000, 1000)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    """Tells dark (0) from bright (1)."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(path, 2)
    return OnnxModel(path, threads=1)


@pytest.fixture(scope="module")
def inference(model: OnnxModel) -> Inference:
    return Inference(model, SPEC, Limits(max_pixels=2_500_000))


def prepared(level: int) -> Pixels:
    return np.full((32, 32, 3), level, np.uint8)


ITEMS: dict[str, tuple[Item, int | type[Exception]]] = {
    "dark": (plain(0), 0),
    "bright": (plain(255, "JPEG", 90, 50), 1),
    "of the model's own size": (plain(255, "JPEG"), 1),
    "of that size, and ends early": (plain(255, "JPEG")[:-40], ImageError),
    "dark and prepared": (prepared(0), 0),
    "bright and prepared": (prepared(255), 1),
    "empty": (b"", ImageError),
    "no image": (b"no image", UnsupportedImage),
    "half an image": (encoded("PNG")[:200], ImageError),
    "a JPEG that ends early": (encoded("JPEG")[:200], ImageError),
    "one pixel": (plain(0, width=1, height=1), ImageError),
    "too large for anyone": (TOO_LARGE, ImageTooLarge),
    "too big to decode here": (BIG, TooBig),
}


def told(outcome: Outcome) -> int | type[Exception]:
    return int(outcome.scores.argmax()) if isinstance(outcome, Inferred) else type(outcome)


@given(names=st.lists(st.sampled_from(list(ITEMS)), min_size=1, max_size=8))
def test_in_any_mixture_each_image_has_its_own_outcome_in_its_own_place(inference: Inference, names: list[str]) -> None:
    outcomes = inference([ITEMS[name][0] for name in names])
    assert len(outcomes) == len(names)
    for name, outcome in zip(names, outcomes, strict=True):
        expected = ITEMS[name][1]
        if isinstance(expected, int):
            assert told(outcome) == expected
        else:
            assert isinstance(outcome, expected)


@given(size=st.integers(1, 6), data=st.data())
def test_scores_that_are_no_numbers_fail_their_own_image_only(model: OnnxModel, size: int, data: st.DataObject) -> None:
    broken = data.draw(st.sets(st.integers(0, size - 1)))
    what = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    inference = Inference(Spoilt(model, broken, what), SPEC, imaging.DEFAULT_LIMITS)
    batch = [prepared(255 * (place % 2)) for place in range(size)]
    assert [told(outcome) for outcome in inference(batch)] == [
        BackendFailed if place in broken else place % 2 for place in range(size)
    ]


class Spoilt(OnnxModel):
    """One score of some rows is no number."""

    def __init__(self, model: OnnxModel, rows: set[int], what: float) -> None:
        self._session, self.threads, self.one_by_one = model._session, 1, False
        self.rows, self.what = rows, what

    def run(self, images: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
        scores = super().run(images)
        scores[list(self.rows), 0] = self.what
        return scores


class Watched(OnnxModel):
    """It remembers the batches it saw."""

    def __init__(self, model: OnnxModel) -> None:
        self._session, self.threads, self.one_by_one = model._session, 1, False
        self.seen: list[int] = []

    def run(self, images: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
        self.seen.append(len(images))
        return super().run(images)


class Sight(OnnxModel):
    """It keeps the images it saw last."""

    def __init__(self, model: OnnxModel) -> None:
        self._session, self.threads, self.one_by_one = model._session, 1, False

    def run(self, images: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
        self.images = images
        return super().run(images)


class OnCuda(Watched):
    """It says that it runs on CUDA."""

    @property
    def provider(self) -> str:
        return CUDA_PROVIDER


def test_nothing_is_inferred_if_no_image_of_the_batch_can_be_read(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxModel, "run", None)
    outcomes = Inference(model, SPEC, imaging.DEFAULT_LIMITS)([b"", b"no image"])
    assert all(isinstance(outcome, ImageError) for outcome in outcomes)


def test_an_image_says_how_long_its_own_decoding_took_and_how_long_its_batch(
    inference: Inference, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, broken, second = inference([encoded("JPEG", 1000, 1000), b"no image", prepared(0)])
    assert isinstance(first, Inferred)
    assert isinstance(second, Inferred)
    assert not isinstance(broken, Inferred)
    assert first.decode > second.decode >= 0
    assert first.infer == second.infer > 0


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG", 301, 203),
        encoded("PNG", 90, 30, mode="RGBA"),
        encoded("GIF", mode="P"),
        encoded("JPEG", 32, 32),
        encoded("JPEG", 32, 32, mode="CMYK"),
        encoded("JPEG", 32, 32, exif=exif(1)),
        encoded("JPEG", 32, 32, exif=exif(6)),
        encoded("PNG", 32, 32),
    ],
)
def test_decoding_on_a_lane_and_elsewhere_gives_the_very_same_pixels(inference: Inference, data: bytes) -> None:
    on_lane, elsewhere = inference([data, inference.load(data)])
    assert isinstance(on_lane, Inferred)
    assert isinstance(elsewhere, Inferred)
    np.testing.assert_array_equal(on_lane.scores, elsewhere.scores)
    np.testing.assert_array_equal(inference.load(data), imaging.load(data, SPEC))


def test_a_jpeg_of_the_models_size_is_decoded_where_it_is_inferred(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Pixels | None] = []

    def watched(data: bytes, colorspace: str, buffer: Pixels | None = None) -> Pixels:
        places.append(buffer)
        pixels: Pixels = decode(data, colorspace, buffer=buffer)
        return pixels

    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", watched)
    sight = Sight(model)
    Inference(sight, SPEC, imaging.DEFAULT_LIMITS)(
        [encoded("JPEG", 90, 50), encoded("JPEG", 32, 32), encoded("JPEG", 32, 32, seed=2)]
    )
    assert places[0] is None
    for place, buffer in enumerate(places[1:], start=1):
        assert buffer is not None
        assert np.shares_memory(buffer, sight.images[place])


def test_what_is_too_big_for_a_lane_is_prepared_elsewhere(inference: Inference) -> None:
    assert inference.load(BIG).shape == (32, 32, 3)
    with pytest.raises(ImageTooLarge):
        inference.load(TOO_LARGE)


@pytest.mark.parametrize("size", range(1, 33))
def test_on_cuda_a_batch_of_any_size_is_padded_to_one_that_was_warmed(model: OnnxModel, size: int) -> None:
    session = OnCuda(model)
    inference = Inference(session, SPEC, imaging.DEFAULT_LIMITS)
    levels = [255 * (place % 3 == 0) for place in range(size)]
    outcomes = inference([prepared(level) for level in levels])
    assert [told(outcome) for outcome in outcomes] == [level // 255 for level in levels]
    assert session.seen == [min(batch for batch in CUDA_BATCHES if batch >= size)]


@pytest.mark.parametrize(("batch_size", "seen"), [(1, [1, 1, 1, 1]), (2, [2, 2]), (3, [3, 1]), (5, [4]), (None, [4])])
def test_what_a_lane_takes_is_inferred_batch_by_batch_and_each_image_keeps_its_place(
    model: OnnxModel, batch_size: int | None, seen: list[int]
) -> None:
    session = Watched(model)
    outcomes = Inference(session, SPEC, imaging.DEFAULT_LIMITS, batch_size)([prepared(level) for level in (0, 255, 255, 0)])
    assert [told(outcome) for outcome in outcomes] == [0, 1, 1, 0]
    assert session.seen == seen


def test_a_model_that_takes_images_one_by_one_gets_all_in_one_call_and_each_is_told_its_own_share_of_the_time(
    model: OnnxModel,
) -> None:
    session = Watched(model)
    session.one_by_one = True
    inference = Inference(session, SPEC, imaging.DEFAULT_LIMITS, 1)
    started = time.perf_counter()
    outcomes = inference([prepared(level) for level in (0, 255, 255, 0)])
    took = time.perf_counter() - started
    assert [told(outcome) for outcome in outcomes] == [0, 1, 1, 0]
    assert session.seen == [4]
    inferred = [outcome for outcome in outcomes if isinstance(outcome, Inferred)]
    assert [outcome.batch for outcome in inferred] == [1] * 4
    assert 0 < sum(outcome.infer for outcome in inferred) < took
    steps = np.diff([outcome.inferred_at for outcome in inferred])
    np.testing.assert_allclose(steps, inferred[0].infer, rtol=1e-3, err_msg="each has its own end")


def test_a_broken_image_takes_no_place_of_another_batch(model: OnnxModel) -> None:
    inference = Inference(model, SPEC, imaging.DEFAULT_LIMITS, 2)
    first, broken, third, fourth, last = inference([prepared(0), b"no image", b"", prepared(255), prepared(0)])
    assert isinstance(broken, ImageError)
    assert isinstance(third, ImageError)
    assert [told(outcome) for outcome in (first, fourth, last)] == [0, 1, 0]


def test_warming_up_shows_every_batch_size_once_and_tells_the_time_of_one_image(model: OnnxModel, tmp_path: Path) -> None:
    session = OnCuda(model)
    assert Inference(session, SPEC, imaging.DEFAULT_LIMITS).warm() > 0
    assert sorted(session.seen) == list(CUDA_BATCHES)
    assert session.seen[-1] == 1, "the one that is timed"
    assert Inference(model, SPEC, imaging.DEFAULT_LIMITS).warm() > 0


def test_one_image_is_timed_several_times_within_reason_and_on_a_gpu_once(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(Inference(model, SPEC, imaging.DEFAULT_LIMITS).times()) == TRIES
    assert len(Inference(OnCuda(model), SPEC, imaging.DEFAULT_LIMITS).times()) == 1
    monkeypatch.setattr("service.backends.inference.TRY_S", 0)
    assert len(Inference(model, SPEC, imaging.DEFAULT_LIMITS).times()) == 1

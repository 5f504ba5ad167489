"""What one declares of a network, word by word."""

import pytest

from models.errors import UsageError
from training.preprocess import PRESETS, Preprocess, parse_preprocess

CUSTOM_VISION = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}


def test_nothing_declared_is_rgb_from_0_to_1_and_probabilities() -> None:
    assert parse_preprocess([], {}) == Preprocess()
    factor, summand = Preprocess().affine
    assert factor.tolist() == pytest.approx([1 / 255] * 3)
    assert summand.tolist() == [0, 0, 0]


def test_keys_are_read_and_the_later_word_wins() -> None:
    found = parse_preprocess(["torchvision", "colours=bgr", "mean=1,2,3", "size=240x320", "scores=softmax"], {})
    assert (found.layout, found.colours, found.mean, found.std) == ("nchw", "bgr", [1, 2, 3], [0.229, 0.224, 0.225])
    assert (found.size, found.scores) == ((240, 320), "softmax")
    assert parse_preprocess(["colours=bgr", "size=224"], {}).size == (224, 224)
    assert parse_preprocess(["range=0..255", "tf"], {}).range == "-1..1"


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_declaration(preset: str) -> None:
    assert parse_preprocess([preset], {}) != Preprocess()


@pytest.mark.parametrize(
    ("metadata", "colours", "pixels"),
    [
        (CUSTOM_VISION, "bgr", "0..255"),
        ({"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_0_1", "other": "x"}, "rgb", "0..1"),
        ({"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_1_1"}, "rgb", "-1..1"),
    ],
)
def test_a_file_can_declare_itself(metadata: dict[str, str], colours: str, pixels: str) -> None:
    found = parse_preprocess(["metadata"], metadata)
    assert (found.colours, found.range) == (colours, pixels)
    assert parse_preprocess(["metadata", "range=0..1"], metadata).range == "0..1"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "nothing"),
        ({"Image.BitmapPixelFormat": "Gray8"}, "BitmapPixelFormat=Gray8"),
        (CUSTOM_VISION | {"Image.NominalPixelRange": "NominalRange_16_235"}, "NominalPixelRange=NominalRange_16_235"),
    ],
)
def test_a_file_that_says_too_little_of_itself_is_not_guessed_at(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=f"the file says .*{said} of its pixels; declare colours= and range= yourself"):
        parse_preprocess(["metadata"], metadata)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("pytorch", "knows no 'pytorch'; there are torchvision, azure_automl, caffe, tf, metadata, and KEY=VALUE"),
        ("color=bgr", r"color=bgr: Extra inputs are not permitted. Keys: layout, colours"),
        ("colours=BGR", "colours=BGR: Input should be 'rgb' or 'bgr'"),
        ("layout=chw", "layout=chw"),
        ("range=0-1", "range=0-1"),
        ("mean=0.5", "mean=0.5: .*at least 3"),
        ("mean=a,b,c", "mean=a,b,c: .*could not convert"),
        ("mean=nan,0,0", "mean and std are finite numbers, and std is not 0"),
        ("std=1,0,1", "std is not 0"),
        ("scale=inf", "scale=inf"),
        ("size=big", "size=big: .*give pixels of a side"),
        ("resize=area", "resize=area"),
        ("scores=sigmoid", "scores=sigmoid: Input should be 'softmax' or 'logits'"),
    ],
)
def test_what_is_not_understood_is_named_with_what_is(word: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_preprocess([word], {})

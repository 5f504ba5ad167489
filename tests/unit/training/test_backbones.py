"""Backbones: their own preprocessing in front, weights from where they are said to come, and clear words where they don't."""

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.errors import UsageError
from models.metadata import file_sha256
from training import backbones
from training.backbone_names import APPLICATIONS
from training.backbones import build, preprocess
from training.efficientnet_lite import DIGESTS, WEIGHTS

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
TINY: dict[str, Any] = {"weights": "random", "options": {"alpha": 0.35}}


@pytest.mark.parametrize("module", sorted({module for module, _ in APPLICATIONS.values()}))
def test_preprocessing_as_layers_is_keras_own(module: str) -> None:
    applications = getattr(keras.applications, module)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, preprocess(inputs, applications))
    expected = applications.preprocess_input(PIXELS.copy())
    np.testing.assert_allclose(np.asarray(model(PIXELS)), expected, atol=1e-4)


def test_a_backbone_takes_pixels_and_gives_what_keras_network_gives_of_preprocessed_ones() -> None:
    keras.utils.set_random_seed(1)
    made = build("mobilenet_v2", 32, 32, **TINY)
    assert made.model.output_shape == (None, 1280)
    plain = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.35, pooling="avg")
    plain.set_weights(made.model.get_weights())
    expected = plain(keras.applications.mobilenet_v2.preprocess_input(PIXELS.copy()), training=False)
    np.testing.assert_allclose(np.asarray(made.model(PIXELS, training=False)), np.asarray(expected), atol=1e-5)
    assert made.facts[0].name == "MobileNetV2"
    assert made.facts[0].weights == "random"
    assert made.facts[0].sha256 == backbones.arrays_digest(made.model)


def test_random_weights_follow_from_the_seed() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(build("mobilenet_v2", 32, 32, **TINY).facts[0].sha256)
    assert digests[0] == digests[1] != digests[2]


def test_lite_is_known_by_the_digest_of_its_file() -> None:
    (facts,) = build("efficientnet_lite0", 32, 32).facts
    assert (facts.name, facts.weights, facts.sha256) == ("efficientnet_lite0", "imagenet", DIGESTS["efficientnet_lite0"])


def test_joined_backbones_lay_their_features_side_by_side() -> None:
    made = build("efficientnet_lite0+efficientnet_lite2", 32, 32)
    assert made.model.output_shape == (None, 2560)
    assert [facts.name for facts in made.facts] == ["efficientnet_lite0", "efficientnet_lite2"]
    alone = np.asarray(build("efficientnet_lite2", 32, 32).model(PIXELS, training=False))
    np.testing.assert_allclose(np.asarray(made.model(PIXELS, training=False))[:, 1280:], alone, atol=1e-5)


class TestWeightsFromAFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        keras.utils.set_random_seed(5)
        plain = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.35)
        path = tmp_path / "mobilenet_notop.weights.h5"
        plain.save_weights(path)
        return path

    def test_are_loaded_and_named_without_their_folder(self, file: Path) -> None:
        made = build("mobilenet_v2", 32, 32, weights=str(file), options={"alpha": 0.35})
        assert (made.facts[0].weights, made.facts[0].sha256) == (file.name, file_sha256(file))
        keras.utils.set_random_seed(5)
        plain = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.35)
        for found, expected in zip(made.model.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_are_held_against_a_digest(self, file: Path) -> None:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        build("mobilenet_v2", 32, 32, weights=str(file), sha256=digest, options={"alpha": 0.35})
        with pytest.raises(UsageError, match=f"has SHA-256 {digest}, not {'0' * 64}: it is another file"):
            build("mobilenet_v2", 32, 32, weights=str(file), sha256="0" * 64, options={"alpha": 0.35})

    def test_are_held_against_the_network_s_shapes(self, file: Path) -> None:
        with pytest.raises(
            UsageError, match=r"does not fit MobileNetV2 without its classifier \(a file whose name says `notop`\)"
        ):
            build("mobilenet_v2", 32, 32, weights=str(file), options={"alpha": 0.5})

    @pytest.mark.parametrize("name", ["weights.h5", "weights.txt", "x.weights.h5", "x.keras"])
    def test_may_be_no_weights_at_all(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(UsageError, match="does not fit MobileNetV2"):
            build("mobilenet_v2", 32, 32, weights=str(tmp_path / name), options={"alpha": 0.35})

    def test_may_not_be_there(self) -> None:
        with pytest.raises(UsageError, match=r"--weights nowhere\.h5: there is no such file; give a path, or imagenet"):
            build("mobilenet_v2", 32, 32, weights="nowhere.h5")

    def test_of_lite_are_loaded_too(self) -> None:
        path = WEIGHTS / "efficientnet_lite0.npz"
        made = build("efficientnet_lite0", 32, 32, weights=str(path))
        assert made.facts[0].weights == "efficientnet_lite0.npz"
        expected = build("efficientnet_lite0", 32, 32).model.get_weights()
        for found, array in zip(made.model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(found, array)


def test_without_a_hub_the_message_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> keras.Model:
        raise Exception("URL fetch failure on https://somewhere: None -- Name or service not known")  # noqa: TRY002  # as keras does

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    with pytest.raises(UsageError) as raised:
        build("resnet50", 32, 32)
    for part in ("ResNet50 can't be downloaded: URL fetch failure", "--weights PATH", "--backbone efficientnet_lite0"):
        assert part in str(raised.value)


def test_a_size_that_the_network_can_t_take_is_refused() -> None:
    with pytest.raises(UsageError, match="InceptionResNetV2 can't be made for 74 x 74 pixels"):
        build("InceptionResNetV2", 74, 74, weights="random")


@pytest.mark.parametrize(("name", "options"), [("mobilenet_v2", {"depth": 3}), ("efficientnet_lite0", {"alpha": 0.5})])
def test_options_that_it_does_not_have_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"alpha|depth"):
        build(name, 32, 32, weights="random", options=options)

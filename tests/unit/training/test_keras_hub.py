"""Backbones of keras_hub, from presets that are made here: nothing is downloaded."""

import sys
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest

from models.errors import UsageError
from training.backbones import build
from training.keras_hub_backbones import preset_side
from training.transfer_recipe import Overrides, load_transfer_recipe

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A vision transformer of random weights, saved as presets are."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-vit"
    keras.utils.set_random_seed(1)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
    )
    backbone.save_to_preset(folder)
    keras_hub.layers.ViTImageConverter(image_size=(32, 32), scale=[1 / 127.5] * 3, offset=[-1.0] * 3).save_to_preset(folder)
    return str(folder)


def test_a_transformer_gives_its_class_token_of_pixels_scaled_as_the_preset_says(preset: str) -> None:
    made = build(f"keras_hub:{preset}", 32, 32)
    backbone = keras_hub.models.Backbone.from_preset(preset)
    expected = np.asarray(backbone(PIXELS / 127.5 - 1, training=False))[:, 0]
    assert made.model.output_shape == (None, 16)
    np.testing.assert_allclose(np.asarray(made.model(PIXELS, training=False)), expected, atol=1e-5)


def test_it_may_take_other_weights(preset: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(2)
    random = build(f"keras_hub:{preset}", 32, 32, weights="random")
    own = build(f"keras_hub:{preset}", 32, 32)
    assert random.facts[0].sha256 != own.facts[0].sha256
    keras_hub.models.Backbone.from_preset(preset).save_weights(tmp_path / "own.weights.h5")
    assert build(f"keras_hub:{preset}", 32, 32, weights=str(tmp_path / "own.weights.h5")).facts[0].weights == "own.weights.h5"


def test_the_preset_says_for_which_size_it_was_made(preset: str) -> None:
    assert preset_side(preset) == 32
    recipe = load_transfer_recipe(None, fine_tune=False, overrides=Overrides(backbone=f"keras_hub:{preset}"))
    assert (recipe.height, recipe.width) == (32, 32)


def test_a_preset_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("nothing_like_it", str(tmp_path)):
        with pytest.raises(UsageError, match="is no preset for images"):
            build(f"keras_hub:{name}", 32, 32)


def test_a_size_that_the_preset_can_t_take_is_refused(preset: str) -> None:
    with pytest.raises(UsageError, match="can't be made for 40 x 40 pixels"):
        build(f"keras_hub:{preset}", 40, 40)


def test_without_a_hub_the_message_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(keras_hub.layers.ImageConverter, "from_preset", offline)
    with pytest.raises(UsageError, match=r"can't be downloaded: Name or service not known\n.*--weights PATH"):
        build("vitb16r224", 224, 224)


def test_without_keras_hub_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UsageError, match="make train-env EXTRAS=hub"):
        build("keras_hub:vit_base_patch16_224_imagenet", 224, 224)

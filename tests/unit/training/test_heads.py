"""Heads, and how they become one network with a backbone."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from training.conversion import write_onnx
from training.heads import AsInference, assembled, head, learning, mirrored
from training.transfer_recipe import HeadSettings

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 8, 6, 3)).astype(np.float32)


@pytest.fixture
def backbone() -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 6, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(7, 3, name="conv")(x))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(x)), name="backbone")


def kinds(model: keras.Model) -> list[object]:
    return [layer.units if isinstance(layer, layers.Dense) else "dropout" for layer in model.layers[1:]]


def test_a_head_has_the_layers_that_it_is_told() -> None:
    model = head(10, 6, HeadSettings(layers=(512, 128, "dropout", 64), dropout=0.5))
    assert kinds(model) == [512, 128, "dropout", 64, 6]
    assert {layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)} == {0.5}
    assert kinds(head(10, 3, HeadSettings())) == ["dropout", 3]
    assert kinds(head(10, 3, HeadSettings(layers=()))) == [3]
    scores = np.asarray(model(np.random.default_rng(1).normal(size=(4, 10))))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_assembled_is_backbone_and_head_one_after_the_other(backbone: keras.Model) -> None:
    top = head(7, 3, HeadSettings())
    whole = assembled(backbone, top)
    np.testing.assert_allclose(np.asarray(whole(PIXELS)), np.asarray(top(backbone(PIXELS))), atol=1e-6)
    top.set_weights([array + 1 for array in top.get_weights()])
    np.testing.assert_allclose(np.asarray(whole(PIXELS)), np.asarray(top(backbone(PIXELS))), atol=1e-6)


def fitted(model: keras.Model) -> None:
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    model.fit(PIXELS, np.eye(3)[[0, 1, 2, 0, 1]], epochs=2, verbose=0)


def test_while_a_trunk_learns_its_batch_norm_keeps_its_statistics(backbone: keras.Model, tmp_path: Path) -> None:
    norm, convolution = backbone.get_layer("bn"), backbone.get_layer("conv")
    norm.moving_mean.assign(np.full(7, 0.1))
    norm.moving_variance.assign(np.full(7, 2.0))
    model = learning(backbone, head(7, 3, HeadSettings()))
    before = {name: getattr(norm, name).numpy() for name in ("moving_mean", "moving_variance", "gamma", "beta")}
    kernel = convolution.kernel.numpy()
    fitted(model)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_array_equal(getattr(norm, name).numpy(), before[name])
    for name in ("gamma", "beta"):
        assert np.abs(getattr(norm, name).numpy() - before[name]).max() > 1e-5, "it learns, but for the statistics"
    assert np.abs(convolution.kernel.numpy() - kernel).max() > 1e-5

    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")  # as a resumed run does
    trunk = next(layer for layer in again.layers if isinstance(layer, AsInference)).layer
    fitted(again)
    np.testing.assert_array_equal(trunk.get_layer("bn").moving_mean.numpy(), before["moving_mean"])


def test_a_trunk_s_dropout_is_off_and_the_head_s_is_on(backbone: keras.Model) -> None:
    quiet = learning(backbone, head(7, 3, HeadSettings(layers=())))
    np.testing.assert_array_equal(np.asarray(quiet(PIXELS, training=True)), np.asarray(quiet(PIXELS, training=False)))
    noisy = learning(backbone, head(7, 3, HeadSettings(layers=("dropout",), dropout=0.5)))
    assert not np.array_equal(np.asarray(noisy(PIXELS, training=True)), np.asarray(noisy(PIXELS, training=False)))


def test_mirrored_is_the_mean_over_an_image_and_its_mirror_image(backbone: keras.Model, tmp_path: Path) -> None:
    plain = assembled(backbone, head(7, 3, HeadSettings()))
    plain.set_weights([array + np.random.default_rng(1).normal(size=array.shape) / 4 for array in plain.get_weights()])
    both = mirrored(plain)
    expected = (np.asarray(plain(PIXELS)) + np.asarray(plain(PIXELS[:, :, ::-1]))) / 2
    assert np.abs(expected - np.asarray(plain(PIXELS))).max() > 1e-4, "the mirror image changes nothing here"
    np.testing.assert_allclose(np.asarray(both(PIXELS)), expected, atol=1e-6)
    np.testing.assert_allclose(np.asarray(both(PIXELS[:, :, ::-1])), expected, atol=1e-6)
    both.save(tmp_path / "both.keras")
    np.testing.assert_allclose(
        np.asarray(keras.models.load_model(tmp_path / "both.keras", compile=False)(PIXELS)), expected, atol=1e-6
    )
    write_onnx(both, (None, 8, 6, 3), tmp_path / "both.onnx")

    from models.runtime import OnnxGraph

    graph = OnnxGraph(tmp_path / "both.onnx", threads=1)
    np.testing.assert_allclose(graph.run(PIXELS), expected, atol=1e-5)
    np.testing.assert_allclose(graph.run(PIXELS[:1]), expected[:1], atol=1e-5)

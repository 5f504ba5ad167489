"""The networks' sizes and shapes."""

import keras
import numpy as np
import pytest

from training.networks import NETWORKS


def test_the_articles_network_has_the_articles_parameters() -> None:
    model = NETWORKS["cnn"](150, 150, 6, 0.2)
    assert model.count_params() == 400_102
    assert model.input_shape == (None, 150, 150, 3)
    assert model.output_shape == (None, 6)


def test_the_residual_network_has_under_a_million_and_takes_any_size() -> None:
    model = NETWORKS["residual"](150, 150, 6, 0.2)
    assert 850_000 < model.count_params() < 950_000
    assert NETWORKS["residual"](96, 64, 6, 0.2).count_params() == model.count_params()
    for height, width in ((64, 64), (96, 32)):
        assert model(np.zeros((1, height, width, 3), np.float32)).shape == (1, 6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_each_class_its_share_and_scales_pixels_itself(name: str) -> None:
    model = NETWORKS[name](150, 150, 3, 0.2)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 150, 150, 3)).astype(np.float32)
    np.testing.assert_allclose(model(pixels, training=False).numpy().sum(axis=1), 1, atol=1e-5)
    scaled = keras.Model(model.input, model.layers[1].output)(pixels).numpy()
    assert (round(float(scaled.min())), round(float(scaled.max()))) == {"cnn": (0, 1), "residual": (-1, 1)}[name]

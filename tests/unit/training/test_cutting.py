"""Where networks can be cut: at layers through which everything passes, and nowhere else."""

import keras
import numpy as np
import pytest
from keras import layers

from models.errors import UsageError
from training import backbones
from training.cutting import above, below, choose, cuts

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)


def branched() -> keras.Model:
    """Two blocks with shortcuts, and one that is a chain of a wide layer and a narrow one."""
    inputs = x = keras.Input((8, 8, 3))
    for block in (1, 2):
        y = layers.Conv2D(3, 3, padding="same", name=f"conv{block}a")(x)
        y = layers.Conv2D(3, 3, padding="same", name=f"conv{block}b")(y)
        x = layers.Add(name=f"add{block}")([x, y])
    x = layers.Conv2D(24, 1, name="wide")(x)
    x = layers.Conv2D(4, 1, name="narrow")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name="branched")


def test_a_cut_is_where_everything_passes_and_something_learns_on_both_sides() -> None:
    found = cuts(branched())
    assert [cut.layer for cut in found] == ["add1", "add2", "wide"]
    assert [cut.share for cut in found] == pytest.approx([4 / 6, 2 / 6, 1 / 6])
    assert [cut.values for cut in found] == [192, 192, 1536]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v2", "resnet50", "densenet121"])
def test_below_and_above_make_the_whole(name: str) -> None:
    keras.utils.set_random_seed(1)
    network = backbones.build(name, 32, 32, weights="random").model
    expected = np.asarray(network(PIXELS, training=False))
    found = cuts(network)
    assert len(found) > 5
    assert [cut.share for cut in found] == sorted((cut.share for cut in found), reverse=True)
    for cut in (found[0], found[len(found) // 2], found[-1]):
        between = below(network, cut)(PIXELS, training=False)
        assert between.shape[1:] == cut.tensor.shape[1:]
        np.testing.assert_allclose(np.asarray(above(network, cut)(between, training=False)), expected, atol=1e-4)


def test_above_shares_its_layers_with_the_network() -> None:
    network = branched()
    top = above(network, choose(network, 0.3))
    top.set_weights([array + 1 for array in top.get_weights()])
    for found, array in zip(network.get_layer("narrow").get_weights(), top.get_layer("narrow").get_weights(), strict=True):
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("share", "layer"), [(0.7, "add1"), (0.4, "add2"), (0.3, "add2"), (0.2, "wide"), (0.01, "wide"), (0.99, "add1")]
)
def test_a_share_is_cut_at_the_nearest_place(share: float, layer: str) -> None:
    assert choose(branched(), share).layer == layer


def test_of_places_near_each_other_the_one_with_the_smallest_output_is_taken() -> None:
    network = backbones.build("efficientnet_lite0", 224, 224, weights="random").model
    for share in (0.2, 0.35, 0.5, 0.8):
        cut = choose(network, share)
        assert abs(cut.share - share) <= 0.06
        assert cut.layer.endswith(("_add", "_project_bn")), "the wide middle of a block costs six times the room"


def test_a_layer_may_be_named_and_a_wrong_one_is_refused_with_those_that_do() -> None:
    assert choose(branched(), 0.9, "add2").layer == "add2"
    for wrong in ("conv1a", "nothing", "pool"):
        with pytest.raises(
            UsageError, match=rf"can't be frozen up to '{wrong}'.*: add1 \(0\.67\), add2 \(0\.33\), wide \(0\.17\)"
        ):
            choose(branched(), 0.5, wrong)


def test_a_network_that_can_t_be_cut_is_refused_with_the_way_out() -> None:
    joined = backbones.build("efficientnet_lite0+efficientnet_lite2", 32, 32, weights="random").model
    with pytest.raises(UsageError, match=r"joined can't be cut in two: fine-tune all of it, from pixels \(share = 1\)"):
        choose(joined, 0.5)

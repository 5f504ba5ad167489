"""What stands on a backbone, and how the two become one network."""

from typing import Any

import keras
from keras import layers, ops

from training.transfer_recipe import HeadSettings


def head(features: int, classes: int, settings: HeadSettings) -> keras.Model:
    """Pooled features float32 [N,features] -> scores float32 [N,classes]."""
    inputs = x = keras.Input((features,), name="features")
    for layer in settings.layers:
        x = layers.Dropout(settings.dropout)(x) if layer == "dropout" else layers.Dense(layer, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="scores")(x), name="head")


def assembled(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """RGB pixels float32 [N,H,W,3] in 0..255 -> scores float32 [N,classes]. It shares its layers with both."""
    image = keras.Input(backbone.input_shape[1:], name="image")
    return keras.Model(image, head(backbone(image)), name="transfer")


def learning(trunk: keras.Model, head: keras.Model) -> keras.Model:
    """The same with a part of a backbone, to be fitted: the trunk's batch norm keeps its statistics, its dropout is off."""
    inputs = keras.Input(trunk.input_shape[1:])
    return keras.Model(inputs, head(AsInference(trunk)(inputs)))


def mirrored(model: keras.Model) -> keras.Model:
    """Answer with the mean of the scores of an image and of its mirror image, as one batch."""
    image = keras.Input(model.input_shape[1:], name="image")
    scores = model(ops.concatenate([image, image[:, :, ::-1]], axis=0))
    return keras.Model(image, ops.mean(ops.reshape(scores, (2, -1, scores.shape[-1])), axis=0), name="mirrored")


@keras.saving.register_keras_serializable(package="parallax")
class AsInference(layers.Wrapper):  # type: ignore[misc]  # keras ships no types
    """Calls a network as if for inference, while its weights learn.

    `network(x, training=False)` says so too, but not within a network that is being fitted: keras 3 overrides it there.
    """

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # tensors of whichever kind
        return self.layer(inputs, training=False)

"""The networks that are trained from scratch.

Both take float32 [N, height, width, 3] in 0..255 and carry their normalisation inside, so that an exported graph needs nothing
but the pixels that `imaging.load` returns.
"""

from collections.abc import Callable

import keras
from keras import layers


def cnn(height: int, width: int, classes: int, dropout: float) -> keras.Model:
    """The network of the article that the README cites: five 3x3 convolutions with pooling, then two dense layers.

    400,102 parameters for six classes at 150 x 150.
    """
    image = keras.Input((height, width, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    for filters in (16, 32, 64, 64, 128):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(512, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax", name="scores")(x), name="cnn")


def residual(height: int, width: int, classes: int, dropout: float) -> keras.Model:
    """A small residual network (He et al., 2015, arXiv:1512.03385) that pools globally, so it learns and serves at any size.

    0.9 million parameters; strides 4, 8, 16 and 32 over stages of 24, 48, 96 and 192 channels. `height` and `width` are only
    the served size: the network itself is fully convolutional.
    """
    del height, width
    image = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = _convolution(x, 24, stride=2)
    for filters, blocks in ((24, 1), (48, 2), (96, 2), (192, 1)):
        for block in range(blocks):
            x = _residual_block(x, filters, stride=2 if block == 0 else 1)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax", name="scores")(x), name="residual")


def _convolution(x: keras.KerasTensor, filters: int, *, stride: int = 1, activate: bool = True) -> keras.KerasTensor:
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if activate else x


def _residual_block(x: keras.KerasTensor, filters: int, *, stride: int) -> keras.KerasTensor:
    shortcut = x
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same")(shortcut)
    if shortcut.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal")(shortcut)
        shortcut = layers.BatchNormalization()(shortcut)
    y = _convolution(x, filters, stride=stride)
    y = _convolution(y, filters, activate=False)
    return layers.ReLU()(layers.Add()([y, shortcut]))


NETWORKS: dict[str, Callable[[int, int, int, float], keras.Model]] = {"cnn": cnn, "residual": residual}

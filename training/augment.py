"""Random views of training images, as one TensorFlow function over a batch. None of it ends up in the exported graph."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How far a view may stray from the image. All zero (and `min_area` one): the image itself."""

    min_area: float = 1.0
    """Smallest share of the image that a random crop keeps."""
    aspect: float = 0.0
    """Crops are up to exp(aspect) wider or higher than the image."""
    flip: bool = False
    """Mirror half of the images."""
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    """Each factor lies within one plus or minus this."""
    mixup: float = 0.0
    """Blend pairs of images and their targets: see `mix`."""


def view(settings: Augmentation, height: int, width: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Make the function (uint8 [N,H,W,3], float32 [N,classes], int64 seed [2]) -> (float32 [N,height,width,3], targets)."""

    def augment(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.shape(images)[0]
        seeds = tf.random.split(seed, 10)

        def uniform(number: int, low: float, high: float) -> tf.Tensor:
            return tf.random.stateless_uniform([count], seeds[number], low, high)

        area = uniform(0, settings.min_area, 1.0)
        stretch = tf.exp(uniform(1, -settings.aspect / 2, settings.aspect / 2 + 1e-9))
        high = tf.minimum(1.0, tf.sqrt(area) / stretch)
        wide = tf.minimum(1.0, tf.sqrt(area) * stretch)
        top = uniform(2, 0.0, 1.0) * (1 - high)
        left = uniform(3, 0.0, 1.0) * (1 - wide)
        right = left + wide
        mirrored = uniform(4, 0.0, 1.0) < (0.5 if settings.flip else 0.0)
        boxes = tf.stack([top, tf.where(mirrored, right, left), top + high, tf.where(mirrored, left, right)], axis=1)
        crops = tf.image.crop_and_resize(tf.cast(images, tf.float32), boxes, tf.range(count), [height, width])

        def factor(number: int, spread: float) -> tf.Tensor:
            return tf.reshape(uniform(number, 1 - spread, 1 + spread + 1e-9), [-1, 1, 1, 1])

        grey = tf.reduce_mean(crops, axis=3, keepdims=True)
        crops = grey + (crops - grey) * factor(5, settings.saturation)
        mean = tf.reduce_mean(crops, axis=[1, 2, 3], keepdims=True)
        crops = (mean + (crops - mean) * factor(6, settings.contrast)) * factor(7, settings.brightness)
        crops = tf.clip_by_value(crops, 0.0, 255.0)
        if settings.mixup:
            crops, targets = mix(crops, targets, seeds[8], settings.mixup)
        return crops, targets

    return augment


def mix(inputs: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each row of a batch with another, weights from Beta(alpha, alpha), the larger part naming the row.

    On pixels this is mixup (Zhang et al., 2018, arXiv:1710.09412), on a layer's output manifold mixup (Verma et al., 2019,
    arXiv:1806.05236).
    """
    gamma = tf.random.stateless_gamma([2, tf.shape(inputs)[0]], seed, alpha)
    share = gamma[0] / tf.maximum(gamma[0] + gamma[1], 1e-9)
    share = tf.maximum(share, 1 - share)
    wide = tf.reshape(share, [-1] + [1] * (inputs.shape.rank - 1))
    return inputs * wide + inputs[::-1] * (1 - wide), targets * share[:, None] + targets[::-1] * (1 - share[:, None])

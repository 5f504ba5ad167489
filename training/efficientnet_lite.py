"""EfficientNet-Lite without its classifier, and its ImageNet weights, which ship in `training/weights/`.

EfficientNet (Tan & Le, 2019, arXiv:1905.11946) without squeeze-and-excitation and with ReLU6, so that it quantises well:
github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. `python -m scripts.lite_weights` made the files.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers

from models.errors import UsageError

WEIGHTS = Path(__file__).parent / "weights"

DIGESTS: Mapping[str, str] = {
    "efficientnet_lite0": "7e29bb9db66e25c310ba2da27ba2849f25a8d01c4151496d66adcbd203cb87db",
    "efficientnet_lite2": "6a61cef192869d2754f3bea2fff58862219f24dd395ea8137fdac6c65cef209b",
}
"""SHA-256 of the shipped `<name>.npz`."""

Stage: TypeAlias = tuple[int, int, int, int, int]
"""Blocks, kernel, stride of the first block, expansion, channels."""

STAGES: Mapping[str, tuple[Stage, ...]] = {
    "efficientnet_lite0": (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ),
    "efficientnet_lite2": (
        (1, 3, 1, 1, 16),
        (3, 3, 2, 6, 24),
        (3, 5, 2, 6, 48),
        (4, 3, 2, 6, 88),
        (4, 5, 1, 6, 120),
        (5, 5, 2, 6, 208),
        (1, 3, 1, 6, 352),
    ),
}


def efficientnet_lite(name: str, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Apply a network of random weights to RGB pixels float32 [N,H,W,3] in 0..255. Returns float32 [N,H/32,W/32,1280]."""
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="preprocess")(pixels)
    x = _activated(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem")(x))
    number = 0
    for blocks, kernel, first_stride, expansion, channels in STAGES[name]:
        for block in range(blocks):
            x = _block(x, f"block{number}", kernel, first_stride if block == 0 else 1, expansion, channels)
            number += 1
    return _activated(layers.Conv2D(1280, 1, use_bias=False, name="top")(x))


def _activated(x: keras.KerasTensor) -> keras.KerasTensor:
    name = x._keras_history.operation.name  # noqa: SLF001  # keras' own way from a tensor to the layer that gave it
    return layers.ReLU(6, name=f"{name}_relu")(layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x))


def _block(inputs: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, channels: int) -> keras.KerasTensor:
    """An inverted residual (Sandler et al., 2018, arXiv:1801.04381)."""
    x = inputs
    if expansion > 1:
        x = _activated(layers.Conv2D(x.shape[-1] * expansion, 1, use_bias=False, name=f"{name}_expand")(x))
    depthwise = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")
    x = _activated(depthwise(x))
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_project_bn")(x)
    return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and inputs.shape[-1] == channels else x


def load_weights(model: keras.Model, path: Path) -> None:
    """Set a network's weights from a file of PyTorch's names and shapes. Raises `UsageError` if it is not this network's."""
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as arrays:
            for layer, key, expected in _places(model):
                lacking = [name for name, _ in key if name not in arrays.files]
                if lacking:
                    raise UsageError(f"{path} lacks {lacking[0]}; it takes the arrays that scripts/lite_weights.py names")
                found = [np.asarray(arrays[name], np.float32).transpose(axes) for name, axes in key]
                if [array.shape for array in found] != expected:
                    raise UsageError(
                        f"{path}: {key[0][0]} has shape {arrays[key[0][0]].shape}, which does not fit {layer.name}, "
                        f"{expected[0]}: these are the weights of another network"
                    )
                layer.set_weights(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise UsageError(f"{path} is not a readable .npz file: {exc}") from exc


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")  # in keras' order: gamma, beta, mean, variance
_KERNEL = {"Conv2D": (2, 3, 1, 0), "DepthwiseConv2D": (2, 3, 0, 1)}


def _places(model: keras.Model) -> Iterator[tuple[Any, list[tuple[str, tuple[int, ...]]], list[tuple[int, ...]]]]:
    """For every layer with weights: the names of its arrays in the file, how to transpose each, and the shapes that result."""
    for layer in model.layers:
        if layer.weights:
            shapes = [tuple(weight.shape) for weight in layer.weights]
            prefix = _torch_name(layer.name)
            if isinstance(layer, layers.BatchNormalization):
                yield layer, [(f"{prefix}.{name}", (0,)) for name in _BATCH_NORM], shapes
            else:
                yield layer, [(f"{prefix}.weight", _KERNEL[type(layer).__name__])], shapes


def _torch_name(layer: str) -> str:
    """`block3_expand_bn` -> `_blocks.3._bn0`."""
    place, _, rest = layer.partition("_")
    if not place.startswith("block"):
        return {"stem": "_conv_stem", "stem_bn": "_bn0", "top": "_conv_head", "top_bn": "_bn1"}[layer]
    names = {
        "expand": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project": "_project_conv",
        "project_bn": "_bn2",
    }
    return f"_blocks.{place.removeprefix('block')}.{names[rest]}"

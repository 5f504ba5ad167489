"""Backbones of keras_hub, which is an extra: vision transformers, and whatever else it has presets of.

A preset is a name, a handle as `kaggle://...` or `hf://...`, or a folder that `save_to_preset` made. keras_hub needs ten seconds
to load, and is loaded only for these names.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from models.errors import UsageError
from training.backbones import load_file, no_hub, pooled


def preset_side(preset: str) -> int:
    """Pixels that a preset was made for. Raises `UsageError`."""
    image_size = _converter(preset).image_size
    return int(max(image_size)) if image_size else 224


def from_preset(preset: str, height: int, width: int, weights: str) -> keras.Model:
    """RGB pixels float32 [N,H,W,3] in 0..255 -> float32 [N,features], with the scaling that the preset states in front.

    `weights`: `imagenet` (the preset's own), a path, or `random`. Raises `UsageError`.
    """
    hub = _keras_hub()
    converter = _converter(preset)
    try:
        backbone = hub.models.Backbone.from_preset(preset, load_weights=weights == "imagenet", image_shape=(height, width, 3))
    except (ValueError, TypeError) as exc:
        raise UsageError(f"keras_hub:{preset} can't be made for {width} x {height} pixels: {exc}") from exc
    except Exception as exc:  # kagglehub and huggingface_hub raise what their HTTP clients raise
        raise UsageError(no_hub(f"keras_hub:{preset}", exc)) from exc
    if weights not in {"imagenet", "random"}:
        load_file(backbone, Path(weights), f"keras_hub:{preset}")
    pixels = keras.Input((height, width, 3), name="image")
    scale, offset = _three(converter.scale, 1.0), _three(converter.offset, 0.0)
    output = backbone(layers.Rescaling(scale, offset, name="preprocess")(pixels))
    if isinstance(output, dict) or len(output.shape) not in {2, 3, 4}:
        raise UsageError(f"keras_hub:{preset} gives no features of an image")
    return pooled(pixels, output, "".join(letter if letter.isalnum() else "_" for letter in Path(preset).name))


def _converter(preset: str) -> Any:  # noqa: ANN401  # keras_hub ships no types
    hub = _keras_hub()
    try:
        return hub.layers.ImageConverter.from_preset(preset)
    except ValueError as exc:
        raise UsageError(f"keras_hub:{preset} is no preset for images: {exc}") from exc
    except Exception as exc:  # kagglehub and huggingface_hub raise what their HTTP clients raise
        raise UsageError(no_hub(f"keras_hub:{preset}", exc)) from exc


def _three(values: Any, default: float) -> list[float]:  # noqa: ANN401  # None, a number, or one for each channel
    array = np.asarray(default if values is None else values, np.float64).reshape(-1)
    return [float(value) for value in np.broadcast_to(array, (3,))]


def _keras_hub() -> Any:  # noqa: ANN401  # keras_hub ships no types
    try:
        import keras_hub
    except ImportError as exc:
        raise UsageError("keras_hub: backbones need keras-hub: make train-env EXTRAS=hub") from exc
    return keras_hub

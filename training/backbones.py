"""Pretrained networks without their classifier, each with its own preprocessing in front.

Whatever a backbone was trained on, here it takes RGB pixels float32 [N,H,W,3] in 0..255 and gives pooled features float32
[N,features].
"""

import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, ops

from models.errors import UsageError
from models.metadata import BackboneFacts, file_sha256
from training import efficientnet_lite
from training.backbone_names import APPLICATIONS, BackboneName, understand

UNFIT = (ValueError, OSError, KeyError, TypeError, AttributeError, UserWarning, zipfile.BadZipFile)
"""What keras and h5py raise for a file of another network, or of another kind."""

Options: TypeAlias = Mapping[str, int | float | bool | str]


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, and where it comes from."""

    model: keras.Model
    """RGB pixels float32 [N,H,W,3] in 0..255 -> float32 [N,features]. One flat graph, so that it can be cut, unless joined."""
    facts: list[BackboneFacts]
    """One, or one for each of several that are joined."""
    branches: list["Backbone"] = field(default_factory=list)
    """Of joined backbones: each by itself, sharing its layers with the whole. Otherwise none."""


def build(
    name: str,
    height: int,
    width: int,
    *,
    weights: str = "imagenet",
    sha256: str | None = None,
    options: Options | None = None,
) -> Backbone:
    """Make a backbone, or several joined with `+`. `weights`: `imagenet`, a path (of digest `sha256`, if given) or `random`.

    Raises `UsageError` for names, sizes and weights that don't fit, and if weights can't be had.
    """
    names = understand(name)
    branches = [_one(each, height, width, weights, sha256, options or {}) for each in names]
    return branches[0] if len(branches) == 1 else join(branches)


def join(branches: list[Backbone]) -> Backbone:
    """Backbones that take pixels of one size, as one: it shares their layers, and lays what they give side by side."""
    pixels = keras.Input(branches[0].model.input_shape[1:], name="image")
    joined = layers.Concatenate(name="features")([branch.model(pixels) for branch in branches])
    return Backbone(keras.Model(pixels, joined, name="joined"), [branch.facts[0] for branch in branches], branches)


def _one(name: BackboneName, height: int, width: int, weights: str, sha256: str | None, options: Options) -> Backbone:
    if weights not in {"imagenet", "random"}:
        digest = _check_file(Path(weights), sha256)
        facts = BackboneFacts(name=name.full, weights=Path(weights).name, sha256=digest)
    else:
        facts = BackboneFacts(name=name.full, weights=weights, sha256="0" * 64)
    if options and name.kind != "application":
        raise UsageError(f"{name.full} takes no options ({', '.join(options)})")
    if name.kind == "lite":
        model = _lite(name, height, width, weights)
        if weights == "imagenet":
            return Backbone(model, [facts.model_copy(update={"sha256": efficientnet_lite.DIGESTS[name.name]})])
    elif name.kind == "application":
        model = _application(name, height, width, weights, options)
    else:
        from training.keras_hub_backbones import from_preset

        model = from_preset(name.name, height, width, weights)
    if weights in {"imagenet", "random"}:
        facts = facts.model_copy(update={"sha256": arrays_digest(model)})
    return Backbone(model, [facts])


def arrays_digest(model: keras.Model) -> str:
    """SHA-256 of a network's weights, in its own order."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def pooled(pixels: keras.KerasTensor, output: keras.KerasTensor, name: str) -> keras.Model:
    """End a network with one vector for each image: the mean over a feature map, or a transformer's class token."""
    if len(output.shape) == 4:
        output = layers.GlobalAveragePooling2D(name="features")(output)
    elif len(output.shape) == 3:
        output = output[:, 0]
    return keras.Model(pixels, output, name=name)


def _check_file(path: Path, sha256: str | None) -> str:
    if not path.is_file():
        raise UsageError(f"--weights {path}: there is no such file; give a path, or imagenet")
    digest = file_sha256(path)
    if sha256 and digest != sha256:
        raise UsageError(f"--weights {path} has SHA-256 {digest}, not {sha256}: it is another file")
    return digest


def _lite(name: BackboneName, height: int, width: int, weights: str) -> keras.Model:
    pixels = keras.Input((height, width, 3), name="image")
    model = pooled(pixels, efficientnet_lite.efficientnet_lite(name.name, pixels), name.name)
    if weights == "imagenet":
        shipped = efficientnet_lite.WEIGHTS / f"{name.name}.npz"
        if not shipped.is_file() or file_sha256(shipped) != efficientnet_lite.DIGESTS[name.name]:
            raise UsageError(f"{shipped} is missing or altered; get it back with: git checkout -- {shipped.name}")
        efficientnet_lite.load_weights(model, shipped)
    elif weights != "random":
        efficientnet_lite.load_weights(model, Path(weights))
    return model


def _application(name: BackboneName, height: int, width: int, weights: str, options: Options) -> keras.Model:
    module = getattr(keras.applications, APPLICATIONS[name.name][0])
    make = getattr(keras.applications, name.name)
    pixels = keras.Input((height, width, 3), name="image")
    arguments = {"include_top": False, "input_shape": (height, width, 3), "input_tensor": preprocess(pixels, module)}
    with warnings.catch_warnings():
        # keras warns that MobileNets' weights for this size are those for 224: they are, and they fit.
        warnings.filterwarnings("ignore", message=".*`input_shape` is undefined or non-square.*")
        try:
            model = make(weights="imagenet" if weights == "imagenet" else None, **arguments, **options)
        except (ValueError, TypeError) as exc:
            raise UsageError(f"{name.name} can't be made for {width} x {height} pixels: {exc}") from exc
        except Exception as exc:  # keras' downloader raises plain Exceptions
            raise UsageError(no_hub(name.name, exc)) from exc
    if weights not in {"imagenet", "random"}:
        load_file(model, Path(weights), name.name)
    return pooled(pixels, model.output, name.name)


def no_hub(name: str, why: Exception) -> str:
    """What to say where weights can't be downloaded."""
    return (
        f"the weights of {name} can't be downloaded: {why}\n"
        "Give a file that was fetched elsewhere with --weights PATH (that of the network without its classifier), "
        "or take --backbone efficientnet_lite0, whose weights are here"
    )


def load_file(model: keras.Model, path: Path, name: str) -> None:
    """Load a Keras file of weights. Raises `UsageError` if it does not hold this network's, by shape."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # which keras is content with where layers keep their random weights
            model.load_weights(path)
    except UNFIT as exc:
        raise UsageError(
            f"--weights {path} does not fit {name} without its classifier (a file whose name says `notop`): {exc}"
        ) from exc


def preprocess(pixels: keras.KerasTensor, module: Any) -> keras.KerasTensor:  # noqa: ANN401  # a module of keras.applications
    """Apply a module's `preprocess_input` as layers, so that it becomes part of the graph.

    All of them scale and shift each channel, some after swapping red and blue; black and white images and a red one tell which.
    """

    def seen(*colour: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(module.preprocess_input(np.array(colour, np.float64).reshape(1, 1, 1, 3))).reshape(3)

    black, white, red = seen(0, 0, 0), seen(255, 255, 255), seen(255, 0, 0)
    scale, offset = (white - black) / 255, black
    swapped = not np.isclose(red[0], white[0])
    if swapped:
        scale, offset = scale[::-1], offset[::-1]
    if not (np.allclose(scale, 1) and np.allclose(offset, 0)):
        pixels = layers.Rescaling(scale.tolist(), offset.tolist(), name="preprocess")(pixels)
    return ops.take(pixels, [2, 1, 0], axis=-1) if swapped else pixels

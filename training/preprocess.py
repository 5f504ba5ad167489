"""What a network that was trained elsewhere expects of its pixels, as one declares it: `torchvision size=224 scores=logits`."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.errors import UsageError

RANGES: Mapping[str, tuple[float, float]] = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (2 / 255, -1.0)}
"""What a pixel 0..255 is multiplied with, and what is added then."""

IMAGENET = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}

PRESETS: Mapping[str, Mapping[str, str]] = {
    "torchvision": {"layout": "nchw", "range": "0..1", **IMAGENET, "scores": "logits"},
    "azure_automl": {"layout": "nchw", "range": "0..1", **IMAGENET, "scores": "logits"},
    "caffe": {"colours": "bgr", "range": "0..255", "mean": "103.939,116.779,123.68"},
    "tf": {"layout": "nhwc", "range": "-1..1"},
}
"""Keras' own names for what its older networks expect are `caffe` and `tf`."""

METADATA = "metadata"
"""The preset that believes the file."""

PIXEL_FORMATS = {"Rgb8": "rgb", "Bgr8": "bgr"}
PIXEL_RANGES = {"NominalRange_0_255": "0..255", "Normalized_0_1": "0..1", "Normalized_1_1": "-1..1"}
"""Values of `Image.BitmapPixelFormat` and `Image.NominalPixelRange` (onnx, docs/MetadataProps.md)."""


def _numbers(value: object) -> object:
    return [float(part) for part in value.split(",")] if isinstance(value, str) else value


def _size(value: object) -> object:
    if isinstance(value, str):
        sides = re.fullmatch(r"(\d+)(?:x(\d+))?", value)
        if sides is None:
            raise ValueError("give pixels of a side, as in 224, or height x width, as in 240x320")
        return int(sides[1]), int(sides[2] or sides[1])
    return value


Three: TypeAlias = Annotated[list[float], BeforeValidator(_numbers), Field(min_length=3, max_length=3)]


class Preprocess(BaseModel):
    """From RGB pixels uint8 [N,H,W,3] to the network's input: colours in order, (pixel x scale + offset - mean) / std, layout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal["nchw", "nhwc"] | None = None
    """None: as the shape of the network's input tells."""
    colours: Literal["rgb", "bgr"] = "rgb"
    range: Literal["0..255", "0..1", "-1..1"] = "0..1"
    """What the pixels are brought to before `mean` and `std`."""
    scale: float | None = Field(default=None, allow_inf_nan=False)
    """Multiplied with the pixels instead of `range`."""
    mean: Three = [0.0, 0.0, 0.0]
    std: Three = [1.0, 1.0, 1.0]
    """In the network's order of colours, as `mean`."""
    size: Annotated[tuple[int, int] | None, BeforeValidator(_size)] = None
    """Height and width; None: as the shape tells."""
    resize: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"
    input: str | None = None
    """None: the only one."""
    output: str | None = None
    """Any tensor of the graph; None: the only output."""
    scores: Literal["softmax", "logits"] = "softmax"
    """What the output is."""

    @property
    def affine(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Factor and summand of each channel [3], in the network's order of colours."""
        factor, summand = RANGES[self.range] if self.scale is None else (self.scale, 0.0)
        std = np.array(self.std)
        return (factor / std).astype(np.float32), ((summand - np.array(self.mean)) / std).astype(np.float32)


def parse_preprocess(words: Sequence[str], metadata: Mapping[str, str]) -> Preprocess:
    """Read presets and KEY=VALUE, the later winning. `metadata`: what the file says of itself. Raises `UsageError`."""
    values: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            values[key] = value
        elif key == METADATA:
            values |= _declared(metadata)
        elif key in PRESETS:
            values |= PRESETS[key]
        else:
            raise UsageError(f"--preprocess knows no {key!r}; there are {', '.join([*PRESETS, METADATA])}, and KEY=VALUE")
    try:
        chosen = Preprocess.model_validate(values)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else "--preprocess"
        known = ", ".join(Preprocess.model_fields)
        raise UsageError(f"--preprocess {where}={values.get(where)}: {first['msg']}. Keys: {known}") from exc
    if not all(chosen.std) or not np.isfinite([*chosen.mean, *chosen.std]).all():
        raise UsageError("--preprocess: mean and std are finite numbers, and std is not 0")
    return chosen


def _declared(metadata: Mapping[str, str]) -> dict[str, str]:
    said = {name: metadata.get(f"Image.{name}", "") for name in ("BitmapPixelFormat", "NominalPixelRange")}
    colours, pixels = PIXEL_FORMATS.get(said["BitmapPixelFormat"]), PIXEL_RANGES.get(said["NominalPixelRange"])
    if colours is None or pixels is None:
        found = ", ".join(f"{name}={value}" for name, value in said.items() if value) or "nothing"
        raise UsageError(f"--preprocess metadata: the file says {found} of its pixels; declare colours= and range= yourself")
    return {"colours": colours, "range": pixels}

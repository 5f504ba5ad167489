"""What a training run is told: a TOML file that holds only what differs from the defaults, each with its reason."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import UsageError
from models.metadata import InputSpec

CONFIGS = Path(__file__).parent / "configs"


MIN_SIDES = {"cnn": 94, "residual": 32}
"""Pixels: five unpadded convolutions and halvings leave nothing of fewer than 94."""


class OptimizerSettings(BaseModel):
    """Warm-up, then half a cosine down to zero at the last step (Loshchilov & Hutter, 2016, arXiv:1608.03983)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=0.001, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_epochs: float = Field(default=1, ge=0)


class AugmentationSettings(BaseModel):
    """See `training.augment.Augmentation`, which these become."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_area: float = Field(default=1.0, gt=0, le=1)
    aspect: float = Field(default=0.0, ge=0, le=2)
    flip: bool = False
    brightness: float = Field(default=0.0, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    saturation: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)


class Recipe(BaseModel):
    """Everything that decides what a run learns, but for data and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    """Name under which the store keeps the model, unless `--name` says otherwise."""
    network: Literal["cnn", "residual"]
    height: int = Field(default=150, ge=32)
    width: int = Field(default=150, ge=32)
    train_height: int | None = None
    train_width: int | None = None
    """Size of the augmented views, where it differs from the served size."""
    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=64, ge=2)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    optimizer: OptimizerSettings = OptimizerSettings()
    augmentation: AugmentationSettings = AugmentationSettings()

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        for side, value in (("height", self.height), ("width", self.width)):
            if value < MIN_SIDES[self.network]:
                raise ValueError(f"{side} must be at least {MIN_SIDES[self.network]} for this network, whose stages halve it")
        return self

    @property
    def input_spec(self) -> InputSpec:
        """Served size, as the model card will say it."""
        return InputSpec(height=self.height, width=self.width)


def load_recipe(network: str, config: Path | None = None, **overrides: int | None) -> Recipe:
    """Read a network's recipe (`configs/<network>.toml`, or a file of one's own). Overrides that are None say nothing.

    Raises `UsageError` with the file and the field at fault.
    """
    path = config or CONFIGS / f"{network}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        values |= {key: value for key, value in overrides.items() if value is not None}
        return Recipe.model_validate({"network": network} | values)
    except FileNotFoundError as exc:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
        raise UsageError(f"no recipe {path}; there are: {known}") from exc
    except (OSError, ValueError) as exc:  # no text, no TOML, no recipe
        raise UsageError(f"{path}: {exc}") from exc

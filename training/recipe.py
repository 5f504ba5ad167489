"""What a training run is told: a TOML file that holds only what differs from the defaults, each with its reason.

Here is what all runs have in common, and the networks that are trained from scratch; `transfer_recipe` has the pretrained ones.
"""

import tomllib
from pathlib import Path, PurePath
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import UsageError
from models.metadata import InputSpec, Name, Version

CONFIGS = Path(__file__).parent / "configs"


MIN_SIDES = {"cnn": 94, "residual": 32}
"""Pixels: five unpadded convolutions and halvings leave nothing of fewer than 94."""


class OptimizerSettings(BaseModel):
    """Warm-up, then half a cosine down to zero at the last step (Loshchilov & Hutter, 2016, arXiv:1608.03983)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(default=0.001, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    """Of adamw and sgd; adam is adamw without."""
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


class Fitting(BaseModel):
    """How long and how fast a network learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=64, ge=2)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    average: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of an exponential moving average of the weights, which is what is then validated and kept (Polyak & Juditsky,
    1992, doi:10.1137/0330046). 0: none; 0.99 averages over about 100 steps."""
    optimizer: OptimizerSettings = OptimizerSettings()


class DistillSettings(BaseModel):
    """Learn from what a better model makes of the images, besides their labels: see `training.distill`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: Name
    """A model of the store, as `NAME`, or as `NAME/VERSION`, which becomes `version`."""
    version: Version | None = None
    """None: the newest when the run begins."""
    weight: float = Field(default=0.5, gt=0, le=1)
    """Share of the teacher in what is learnt; the rest is the label's."""
    temperature: float = Field(default=2.0, ge=1, le=100)
    """1: the teacher's probabilities as they are; more: flatter, so that the classes that it thinks of second show."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: object) -> object:
        if isinstance(values, dict) and "/" in str(values.get("teacher")):
            name, _, version = values["teacher"].partition("/")
            return values | {"teacher": name, "version": version}
        return values


class Served(BaseModel):
    """What decides how the trained model is served, and whom it learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    """Name under which the store keeps the model, unless `--name` says otherwise."""
    height: int = Field(default=150, ge=32)
    width: int = Field(default=150, ge=32)
    mirrored: bool = False
    """Answer with the mean of the scores of an image and of its mirror image: twice the work, a little more accurate."""
    distill: DistillSettings | None = None
    """None: labels are all that is learnt from."""

    @property
    def input_spec(self) -> InputSpec:
        """Served size, as the model card will say it."""
        return InputSpec(height=self.height, width=self.width)


class Recipe(Fitting, Served):
    """Everything that decides what a run from scratch learns, but for data and seed."""

    network: Literal["cnn", "residual"]
    train_height: int | None = None
    train_width: int | None = None
    """Size of the augmented views, where it differs from the served size."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    augmentation: AugmentationSettings = AugmentationSettings()

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        for side, value in (("height", self.height), ("width", self.width)):
            if value < MIN_SIDES[self.network]:
                raise ValueError(f"{side} must be at least {MIN_SIDES[self.network]} for this network, whose stages halve it")
        return self

    @property
    def kind(self) -> str:
        """The name by which a model's card calls the recipe."""
        return self.network

    @property
    def command(self) -> str:
        """What follows `parallax train`."""
        return "cnn"


def load_recipe(network: str, config: Path | None = None, **overrides: object) -> Recipe:
    """Read a network's recipe (`configs/<network>.toml`, or a file of one's own). Overrides that are None say nothing.

    Raises `UsageError` with the file and the field at fault.
    """
    path = config or CONFIGS / f"{network}.toml"
    values = {"network": network} | read_toml(path)
    distilled(values, overrides.pop("teacher", None), overrides.pop("distill_weight", None))
    values |= {key: value for key, value in overrides.items() if value is not None}
    try:
        return Recipe.model_validate(values)
    except ValueError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def distilled(values: dict[str, Any], teacher: object, weight: object) -> None:
    """Say in a recipe's values whom to learn from, and how much; None says nothing. Raises `UsageError`."""
    said = {key: value for key, value in (("teacher", teacher), ("weight", weight)) if value is not None}
    if weight is not None and teacher is None and "distill" not in values:
        raise UsageError("--distill-weight is the share of a teacher: name one with --teacher")
    if said:
        values["distill"] = {**values.get("distill", {}), **said}


def settings_of_teacher(teacher: str | None, weight: float | None) -> DistillSettings | None:
    """Whom to learn from where no recipe says it. Raises `UsageError`."""
    values: dict[str, Any] = {}
    distilled(values, teacher, weight)
    try:
        return DistillSettings.model_validate(values["distill"]) if values else None
    except ValueError as exc:
        raise UsageError(f"--teacher: {exc}") from exc


def read_toml(path: Path) -> dict[str, Any]:
    """What a recipe's file says, not yet checked. Raises `UsageError`, with those that ship if there is no such file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.toml")))
        raise UsageError(f"no recipe {path}; there are: {known}") from exc
    except (OSError, ValueError) as exc:  # no text, or no TOML
        raise UsageError(f"{path}: {exc}") from exc


def flat_settings(values: dict[str, object], prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """A recipe's settings by dotted names, with paths cut to their last name: a card tells nobody's folders."""
    flat: dict[str, str | int | float | bool | None] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        elif isinstance(value, tuple):
            flat[prefix + key] = " ".join(map(str, value))
        elif isinstance(value, str):
            flat[prefix + key] = PurePath(value).name if PurePath(value).is_absolute() or "/" in value else value
        elif value is None or isinstance(value, int | float | bool):
            flat[prefix + key] = value
    return flat

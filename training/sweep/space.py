"""What a sweep may try: a TOML file with a value, a choice or a range for each setting, in the terms of Azure's AutoML."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator
from typing_extensions import TypeAliasType

from models.errors import UsageError
from training.backbone_names import default_side, understand
from training.recipe import CONFIGS, AugmentationSettings, read_toml
from training.transfer_recipe import FineTuneSettings, HeadLayer

SPACES = CONFIGS / "spaces"

T = TypeVar("T")
Number = TypeVar("Number", bound=float)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Frozen, Generic[T]):
    """One of several values: `{ choice = [224, 260] }`."""

    choice: tuple[T, ...]

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.choice:
            raise ValueError("a choice of nothing")
        return self


class Range(_Frozen, Generic[Number]):
    """Anything between two bounds, both included: `{ min = 0.001, max = 0.1, log = true }`."""

    min: Number
    max: Number
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.min < self.max:
            raise ValueError(f"min ({self.min}) must be less than max ({self.max})")
        if self.log and self.min <= 0:
            raise ValueError("a logarithmic range begins above 0")
        return self


def _kind(value: object) -> str:
    """Which of the forms a setting was given in, so that a message speaks of that form only."""
    if isinstance(value, Choice) or (isinstance(value, Mapping) and "choice" in value):
        return "choice"
    if isinstance(value, Range) or (isinstance(value, Mapping) and {"min", "max"} & value.keys()):
        return "range"
    return "models" if isinstance(value, Mapping) else "fixed"


# Aliases of this kind, because pydantic fills them in itself; ordinary ones would leave the T of a model in them open.
Chosen = TypeAliasType(
    "Chosen",
    Annotated[Annotated[T, Tag("fixed")] | Annotated[Choice[T], Tag("choice")], Discriminator(_kind)],
    type_params=(T,),
)
"""A value, or a choice of several."""

Searched = TypeAliasType(
    "Searched",
    Annotated[
        Annotated[Number, Tag("fixed")] | Annotated[Choice[Number], Tag("choice")] | Annotated[Range[Number], Tag("range")],
        Discriminator(_kind),
    ],
    type_params=(Number,),
)
"""A number, a choice of several, or a range."""

OptimizerName: TypeAlias = Literal["adamw", "adam", "sgd"]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Strength: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Part: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Crops: TypeAlias = Annotated[int, Field(ge=0, le=100)]
BatchSize: TypeAlias = Annotated[int, Field(ge=2)]
Side: TypeAlias = Annotated[int, Field(ge=32)]
Sides: TypeAlias = Annotated[
    Annotated[Side, Tag("fixed")] | Annotated[Choice[Side], Tag("choice")] | Annotated[dict[str, Chosen[Side]], Tag("models")],
    Discriminator(_kind),
]


class Parameters(_Frozen):
    """What a trial is made of."""

    model_name: Chosen[str] = "efficientnet_lite0"
    """See `backbone_names`; two joined with `+` see the same pixels and stand in one graph."""
    image_size: Sides | None = None
    """For all models, or a table by model. Whoever is not named gets the size that it was made for."""
    learning_rate: Searched[Positive] = 0.002
    optimizer: Chosen[OptimizerName] = "adamw"
    weight_decay: Searched[NotNegative] = 0.01
    label_smoothing: Searched[Share] = 0.0
    head_layers: Chosen[tuple[HeadLayer, ...]] = ("dropout",)
    dropout: Searched[Share] = 0.2
    mixup: Searched[NotNegative] = 0.0
    epochs: Searched[Count] = 30
    batch_size: Chosen[BatchSize] = 256
    crops: Chosen[Crops] = 0
    """Random crops of each image whose features are cached, beside the image and its mirror image. Each costs a pass."""
    augmentation_strength: Chosen[Strength] = 1.0
    """How far those crops, and those of fine-tuning, stray: 1 is the table `augmentation`, 0 the image itself."""
    fine_tune_share: Searched[Part] = 0.35
    """Share of the winner's layers that learn on. The ranking can't see it: of several, chance takes one."""

    @field_validator("model_name")
    @classmethod
    def _known_models(cls, value: Chosen[str]) -> Chosen[str]:
        if isinstance(value, Choice):
            return Choice[str](choice=tuple(dict.fromkeys(_full(name) for name in value.choice)))
        return _full(value)

    @field_validator("image_size")
    @classmethod
    def _sizes_by_full_name(cls, value: Sides | None) -> Sides | None:
        return {_full(name): sides for name, sides in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _sizes_belong_to_models(self) -> Self:
        if isinstance(self.image_size, dict) and (strange := self.image_size.keys() - set(self.models)):
            raise ValueError(f"image_size names {', '.join(sorted(strange))}, which model_name does not")
        for model in self.models:
            self.sizes(model)
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that may be tried."""
        return self.model_name.choice if isinstance(self.model_name, Choice) else (self.model_name,)

    def sizes(self, model: str) -> Chosen[int]:
        """The sides at which a model may be tried. Raises `ValueError` if nobody says and only its preset knows."""
        asked = self.image_size.get(model) if isinstance(self.image_size, dict) else self.image_size
        side = default_side(model) if asked is None else asked
        if side is None:
            raise ValueError(f"image_size must say at which size {model} is to be tried")
        return side


class EarlyTermination(_Frozen):
    """When a trial that does badly is ended. See `pruning`."""

    type: Literal["bandit", "median", "hyperband", "none"] = "none"
    slack_factor: float | None = Field(default=None, gt=0)
    """Of bandit: how far a trial may be behind the best one, as a share of it."""
    evaluation_interval: int = Field(default=1, ge=1)
    """Epochs between two looks."""
    delay_evaluation: int = Field(default=0, ge=0)
    """Epochs before the first look."""

    @model_validator(mode="after")
    def _belongs_to_its_type(self) -> Self:
        if self.type == "bandit" and self.slack_factor is None:
            raise ValueError("bandit needs a slack_factor")
        if self.type != "bandit" and self.slack_factor is not None:
            raise ValueError("slack_factor belongs to bandit")
        return self


class Space(_Frozen):
    """A sweep's file."""

    sampling: Literal["random", "tpe"] = "tpe"
    weights: Literal["imagenet", "random"] = "imagenet"
    """Of all backbones; random, to try the mechanism."""
    early_termination: EarlyTermination = EarlyTermination()
    augmentation: AugmentationSettings = AugmentationSettings(flip=True)
    fine_tune: FineTuneSettings = FineTuneSettings()
    """Of the winner, but for `share`, which is a parameter."""
    parameters: Parameters = Parameters()

    @field_validator("fine_tune")
    @classmethod
    def _depth_is_a_parameter(cls, value: FineTuneSettings) -> FineTuneSettings:
        if {"share", "freeze_at"} & value.model_fields_set:
            raise ValueError("the depth is parameters.fine_tune_share")
        return value


def load_space(space: str | None) -> Space:
    """Read a file, or one of `configs/spaces/` by name. Raises `UsageError` with the file and every field at fault."""
    shipped = SPACES / f"{space or 'automl'}.toml"
    path = shipped if space is None or (shipped.exists() and not Path(space).exists()) else Path(space)
    if not path.is_file():
        raise UsageError(f"no space {path}; there are: {', '.join(sorted(file.stem for file in SPACES.glob('*.toml')))}")
    try:
        return Space.model_validate(read_toml(path))
    except ValidationError as exc:
        faults = "\n  ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in exc.errors())
        raise UsageError(f"{path}:\n  {faults}") from exc
    except UsageError as exc:
        raise exc if str(path) in str(exc) else UsageError(f"{path}: {exc}") from exc


def _place(loc: tuple[int | str, ...]) -> str:
    """Where a fault is, without the forms that pydantic names on the way."""
    return ".".join(_named(loc)) or "the file"


def _named(loc: tuple[int | str, ...]) -> Iterator[str]:
    for number, step in enumerate(loc):
        form = step in {"fixed", "choice", "range", "models"} and not (step == "choice" and loc[number - 1] == "choice")
        if not form:
            yield str(step)


def _full(name: str) -> str:
    return "+".join(part.full for part in understand(name))

"""What one trial tries: a point of the space, and what training makes of it."""

from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from training.recipe import AugmentationSettings
from training.sweep.space import Choice, OptimizerName, Range, Space
from training.transfer_recipe import FineTuneSettings, HeadLayer, HeadSettings

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Label: TypeAlias = int | float | str
T = TypeVar("T")
Number = TypeVar("Number", bound=float)


class Candidate(BaseModel):
    """One value for each of `space.Parameters`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_name: str
    image_size: int
    learning_rate: float
    optimizer: OptimizerName
    weight_decay: float
    label_smoothing: float
    head_layers: tuple[HeadLayer, ...]
    dropout: float
    mixup: float
    epochs: int
    batch_size: int
    crops: int
    augmentation_strength: float
    fine_tune_share: float

    @property
    def parts(self) -> list[str]:
        """The backbones, one or several joined."""
        return self.model_name.split("+")

    @property
    def head(self) -> HeadSettings:
        """How its head is made and learns."""
        return HeadSettings.model_validate(
            {
                "layers": self.head_layers,
                "dropout": self.dropout,
                "crops": self.crops,
                "mixup": self.mixup,
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "label_smoothing": self.label_smoothing,
                "optimizer": {"name": self.optimizer, "learning_rate": self.learning_rate, "weight_decay": self.weight_decay},
            }
        )

    def fine_tune(self, settings: FineTuneSettings) -> FineTuneSettings:
        """How it would be fine-tuned."""
        return settings.model_copy(update={"share": self.fine_tune_share})


def draw(space: Space, trial: "BaseTrial") -> Candidate:
    """Ask a trial for whatever the space leaves open. A trial that was drawn before answers as it did then."""
    parameters = space.parameters
    model = _choose(trial, "model_name", parameters.model_name)
    by_model = isinstance(parameters.image_size, dict)
    return Candidate(
        model_name=model,
        image_size=_choose(trial, f"image_size of {model}" if by_model else "image_size", parameters.sizes(model)),
        learning_rate=_search(trial, "learning_rate", parameters.learning_rate),
        optimizer=_choose(trial, "optimizer", parameters.optimizer),
        weight_decay=_search(trial, "weight_decay", parameters.weight_decay),
        label_smoothing=_search(trial, "label_smoothing", parameters.label_smoothing),
        head_layers=_choose(trial, "head_layers", parameters.head_layers),
        dropout=_search(trial, "dropout", parameters.dropout),
        mixup=_search(trial, "mixup", parameters.mixup),
        epochs=_search(trial, "epochs", parameters.epochs),
        batch_size=_choose(trial, "batch_size", parameters.batch_size),
        crops=_choose(trial, "crops", parameters.crops),
        augmentation_strength=_choose(trial, "augmentation_strength", parameters.augmentation_strength),
        fine_tune_share=_search(trial, "fine_tune_share", parameters.fine_tune_share),
    )


def strengthened(settings: AugmentationSettings, strength: float) -> AugmentationSettings:
    """The same, only so far: 0 leaves the image itself and its mirror image, 1 all of it."""
    return settings.model_copy(
        update={
            "min_area": 1 - strength * (1 - settings.min_area),
            **{name: strength * getattr(settings, name) for name in ("aspect", "brightness", "contrast", "saturation")},
        }
    )


def _choose(trial: "BaseTrial", name: str, values: T | Choice[T]) -> T:
    if not isinstance(values, Choice):
        return values
    labels = {_label(value): value for value in values.choice}
    return labels[cast(Label, trial.suggest_categorical(name, list(labels)))]


def _search(trial: "BaseTrial", name: str, values: Number | Choice[Number] | Range[Number]) -> Number:
    if not isinstance(values, Range):
        return _choose(trial, name, values)
    low: float = values.min
    high: float = values.max
    if isinstance(low, int) and isinstance(high, int):
        return cast(Number, trial.suggest_int(name, low, high, log=values.log))
    return cast(Number, trial.suggest_float(name, low, high, log=values.log))


def _label(value: object) -> Label:
    """As Optuna stores it, which knows no lists."""
    return value if isinstance(value, int | float | str) else " ".join(map(str, cast(tuple[HeadLayer, ...], value)))

"""What a run of transfer learning is told: the backbone, the head on it, and how far down it is fine-tuned."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.errors import UsageError
from models.metadata import Digest
from training.backbone_names import default_side, understand
from training.recipe import CONFIGS, AugmentationSettings, Fitting, OptimizerSettings, Served, distilled, read_toml

HeadLayer: TypeAlias = Annotated[int, Field(ge=1, le=8192)] | Literal["dropout"]


class HeadSettings(Fitting):
    """The layers between the pooled features and the scores, and how they learn while the backbone is frozen."""

    layers: tuple[HeadLayer, ...] = ("dropout",)
    """Widths of dense layers with ReLU, and where dropout stands among them. The last layer, softmax, is not named."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    crops: int = Field(default=0, ge=0, le=100)
    """Augmented views of each image whose features are cached, beside the image itself and its mirror image."""
    mixup: float = Field(default=0.0, ge=0)
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=256, ge=2)
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=0.002, weight_decay=0.01)


class FineTuneSettings(Fitting):
    """How the top of the backbone learns on, together with the head, once that has learnt."""

    share: float = Field(default=0.35, gt=0, le=1)
    """Share of the backbone's layers with weights that learn on, from the top. 1: all of them, from pixels."""
    freeze_at: str | None = None
    """Name of the layer up to which the backbone stays frozen, instead of `share`."""
    crops: int = Field(default=6, ge=0, le=100)
    """Augmented views of each image whose activations are cached, beside the image itself and its mirror image."""
    from_pixels: bool = False
    """Cache nothing: every epoch sees new views, and pays for the frozen part too. For those who have a GPU."""
    mixup: float = Field(default=0.0, ge=0)
    epochs: int = Field(default=12, ge=1)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    average: float = Field(default=0.99, ge=0, lt=1)
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=0.0003, weight_decay=0.01)


class TransferRecipe(Served):
    """Everything that decides what a run of transfer learning learns, but for data and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "efficientnet_lite0"
    """See `backbone_names`; two joined with `+` see the same pixels, and their features lie side by side.

    They are fine-tuned one after the other, each with a head of its own; then one head learns on what both give. With a share
    of 1 all learn together, from pixels.
    """
    backbone_options: dict[str, int | float | bool | str] = Field(default_factory=dict)
    """What `keras.applications` takes besides, as in `alpha = 0.35` of MobileNetV2."""
    weights: str = "imagenet"
    """`imagenet`, a file, or `random`, to try the mechanism."""
    weights_sha256: Digest | None = None
    """Of the file, to be sure of it."""
    augmentation: AugmentationSettings = AugmentationSettings()
    head: HeadSettings = HeadSettings()
    fine_tune: FineTuneSettings | None = None
    """None: the backbone stays as it is."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        joined = len(understand(self.backbone)) > 1
        if joined and (self.weights not in {"imagenet", "random"} or self.backbone_options):
            raise ValueError("joined backbones take weights 'imagenet' or 'random', and no options")
        if joined and self.fine_tune and self.fine_tune.freeze_at is not None:
            raise ValueError(
                "joined backbones have layers of their own: say with share, not freeze_at, how much of each is fine-tuned"
            )
        if self.weights_sha256 and self.weights in {"imagenet", "random"}:
            raise ValueError("weights_sha256 belongs to a file named by weights")
        return self

    @property
    def kind(self) -> str:
        """The name by which a model's card calls the recipe."""
        return "transfer"

    @property
    def command(self) -> str:
        """What follows `parallax train`."""
        return "transfer"


class Overrides(BaseModel):
    """What the command line says instead of the recipe; None says nothing."""

    model_config = ConfigDict(frozen=True)

    backbone: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    image_size: int | None = None
    mirrored: bool | None = None
    head_epochs: int | None = None
    fine_tune_epochs: int | None = None
    share: float | None = None
    teacher: str | None = None
    distill_weight: float | None = None


def load_transfer_recipe(config: str | Path | None, *, fine_tune: bool, overrides: Overrides) -> TransferRecipe:
    """Read `configs/<config>.toml`, or a file of one's own. Its table `fine_tune` counts only if that is asked for.

    A size that nobody states is the one that the backbone was made for. Raises `UsageError` with the file and the field at fault.
    """
    path = _path(config)
    values = read_toml(path)
    try:
        _apply(values, overrides, fine_tune=fine_tune)
        return TransferRecipe.model_validate(values)
    except ValueError as exc:
        raise UsageError(f"{path}: {exc}") from exc


def _path(config: str | Path | None) -> Path:
    shipped = CONFIGS / f"{config or 'transfer'}.toml"
    return shipped if config is None or (shipped.exists() and not Path(config).exists()) else Path(config)


def _apply(values: dict[str, Any], overrides: Overrides, *, fine_tune: bool) -> None:
    """Change what a file says into what is to be done."""
    recipes_backbone = values.setdefault("backbone", "efficientnet_lite0")
    said = overrides.model_dump(include={"backbone", "weights", "weights_sha256", "mirrored"}, exclude_none=True)
    values |= said
    if understand(values["backbone"]) != understand(recipes_backbone):
        for name in ("height", "width", "backbone_options"):  # they were the other backbone's
            values.pop(name, None)
    values["backbone"] = "+".join(name.full for name in understand(values["backbone"]))
    if overrides.image_size is not None:
        values["height"] = values["width"] = overrides.image_size
    elif not {"height", "width"} & values.keys():
        values["height"] = values["width"] = _side(values["backbone"])
    distilled(values, overrides.teacher, overrides.distill_weight)
    if overrides.head_epochs is not None:
        values.setdefault("head", {})["epochs"] = overrides.head_epochs
    if fine_tune:
        _apply_to_fine_tuning(values.setdefault("fine_tune", {}), overrides)
    else:
        values.pop("fine_tune", None)


def _apply_to_fine_tuning(table: dict[str, Any], overrides: Overrides) -> None:
    if overrides.fine_tune_epochs is not None:
        table["epochs"] = overrides.fine_tune_epochs
    if overrides.share is not None:
        table["share"] = overrides.share
        table.pop("freeze_at", None)


def _side(backbone: str) -> int:
    """Pixels that a backbone was made for; of one of keras_hub, its preset has to be asked."""
    side = default_side(backbone)
    if side is None:
        from training.keras_hub_backbones import preset_side

        side = max(preset_side(name.name) for name in understand(backbone) if name.kind == "hub")
    return side

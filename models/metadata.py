"""The contract of one model version: `model.json`, as a tree of frozen values.

A version is a folder `<store>/<name>/<version>/` with the ONNX variants, `golden.npz`, `CARD.md` and `model.json`, which is
written last: a folder without it is not a model yet.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.sweep_facts import SweepFacts

CARD_FILE = "model.json"

INPUT_NAME = "image"
"""ONNX input: uint8 [N, height, width, 3], RGB; normalisation is inside the graph."""

OUTPUT_NAME = "scores"
"""ONNX output: float32 [N, classes], softmax."""

NAME_PATTERN = r"[a-z][a-z0-9_-]{0,62}"

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
Name: TypeAlias = Annotated[str, Field(pattern=rf"^{NAME_PATTERN}$")]
Version: TypeAlias = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]
Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""One name, no path: a card can't point outside its own folder."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Frozen):
    """What `imaging.load` makes of an image before the model sees it."""

    height: int = Field(ge=8, le=4096)
    width: int = Field(ge=8, le=4096)
    resize: Literal["nearest", "box", "bilinear", "bicubic", "lanczos"] = "bilinear"


class StoredFile(_Frozen):
    """A file beside the card."""

    file: FileName
    sha256: Digest


class DataFile(_Frozen):
    """A zip or folder that images came from, by its last name: never a path."""

    name: str
    sha256: Digest
    images: int = Field(ge=0)


class Accuracy(_Frozen):
    """Share of right answers with its Wilson 95 % interval."""

    correct: int = Field(ge=0)
    images: int = Field(gt=0)
    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class Change(_Frozen):
    """How the share of right answers on the same images changed, with its 95 % interval. Negative: fewer are right."""

    images: int = Field(gt=0)
    gained: int = Field(ge=0)
    """Right now, and wrong before."""
    lost: int = Field(ge=0)
    """Wrong now, and right before."""
    value: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)


class Speed(_Frozen):
    """Images decoded and classified per second on all cores of a machine, measured in turns with the version's other variants."""

    images_per_second: float = Field(gt=0)
    provider: str
    processor: str
    cores: int = Field(ge=1)


class Variant(StoredFile):
    """One ONNX file of a version."""

    precision: Precision
    size_bytes: int | None = Field(default=None, ge=0)
    speed: Speed | None = None
    """None until it was measured beside another variant."""
    validation: Accuracy | None = None
    """Of this very file, when its variants were compared."""
    change: Change | None = None
    """Against fp32 on those validation images; None for fp32 itself."""
    test_accuracy: float | None = Field(default=None, ge=0, le=1)
    """Of this very file through `imaging.load`, on the first test set of `tests`; None until it met one."""


class TestResult(_Frozen):
    """What a test set said of a version, once."""

    __test__ = False  # not a pytest class, whatever its name

    data: DataFile
    accuracy: dict[Precision, Accuracy]
    evaluated: datetime


class Counts(_Frozen):
    """Images on the way from the sources to the network."""

    found: int
    left_out: int = 0
    unreadable: int
    in_excluded_set: int
    conflicting_duplicates: int
    train: int
    validation: int


class BackboneFacts(_Frozen):
    """A pretrained network that a model stands on."""

    name: str
    weights: str
    """`imagenet`, `random`, or the name of a file."""
    sha256: Digest
    """Of the file; of the arrays themselves where they came from a hub, or from nowhere."""


class TeacherFacts(StoredFile):
    """The file of a version, here or once here, whose answers a model has learnt from."""

    name: Name
    version: Version


class TrainingFacts(_Frozen):
    """From what, how, how well, how long."""

    recipe: str
    phase: Literal["scratch", "frozen", "fine_tuned"] = "scratch"
    """What of the network learnt: all of it; what stands on a frozen backbone; part of the backbone as well."""
    backbones: list[BackboneFacts] = Field(default_factory=list)
    teacher: TeacherFacts | None = None
    sweep: SweepFacts | None = None
    """None: a person chose the settings."""
    settings: dict[str, str | int | float | bool | None]
    data: list[DataFile]
    excluded: list[DataFile]
    counts: Counts
    parameters: int
    epochs: int
    best_epoch: int
    validation: Accuracy
    minutes: float
    usd: float
    usd_per_hour: float
    seed: int
    cores: int
    libraries: dict[str, str]
    finished: datetime


class ModelCard(_Frozen):
    """Everything that a server must know to run a version, and a person to trust it."""

    format: Literal[1] = 1
    name: Name
    version: Version
    labels: Annotated[list[str], Field(min_length=2)]
    """In the order of the model's scores."""
    input: InputSpec
    variants: Annotated[list[Variant], Field(min_length=1)]
    golden: StoredFile
    keras: StoredFile | None = None
    """The trained network itself: to export, quantise or fine-tune again. Never served."""
    training: TrainingFacts | None = None
    """None for a model that was trained elsewhere."""
    tests: list[TestResult] = Field(default_factory=list)

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label stands twice")
        precisions = [variant.precision for variant in self.variants]
        if len(set(precisions)) != len(precisions):
            raise ValueError("a precision stands twice")
        return self

    @property
    def files(self) -> list[StoredFile]:
        """Every file that the card vouches for."""
        return [*self.variants, self.golden, *([self.keras] if self.keras else [])]

    def variant(self, precision: Precision) -> Variant | None:
        """The file of a precision, if the version has one."""
        return next((variant for variant in self.variants if variant.precision == precision), None)

    def validation(self, variant: Variant) -> Accuracy | None:
        """Of a variant itself, as far as it was measured by itself; else the network's, as it was trained."""
        return variant.validation or (self.training.validation if self.training else None)

    def tested(self, tests: Sequence[TestResult]) -> "ModelCard":
        """The same card with these test results. The first tells each variant's `test_accuracy`."""
        first = tests[0].accuracy if tests else {}
        values = {precision: found.value for precision, found in first.items()}
        variants = [one.model_copy(update={"test_accuracy": values.get(one.precision)}) for one in self.variants]
        return self.model_copy(update={"tests": list(tests), "variants": variants})


def stored_file(path: Path) -> StoredFile:
    """Describe a file for its card."""
    return StoredFile(file=path.name, sha256=file_sha256(path))


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_name(name: str) -> str:
    """Return a model's name if it can be one. Raises `ValueError`."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(f"{name!r} can't be a model's name: lower-case letters, digits, - and _, a letter first, at most 63")
    return name

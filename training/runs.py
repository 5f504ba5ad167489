"""A training run's folder: what it was told, how far it came, its best weights. Enough to resume it or to export it again.

A run that learns in several phases has a folder within its own for each of them.
"""

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import UsageError
from models.metadata import TrainingFacts
from training.automl_recipe import AutomlRecipe
from training.recipe import Recipe
from training.transfer_recipe import TransferRecipe


class RunRecord(BaseModel):
    """`run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    recipe: Recipe | AutomlRecipe | TransferRecipe
    sources: list[str]
    excluded: list[str]
    left_out: list[str] = []
    seed: int
    usd_per_hour: float
    labels: list[str] = []
    facts: TrainingFacts | None = None
    """Known once the run has ended."""


class Epoch(BaseModel):
    """One line of `history.jsonl`."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    seconds: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float

    @property
    def merit(self) -> tuple[float, float]:
        """What makes an epoch the best: validation accuracy, then validation loss."""
        return self.val_accuracy, -self.val_loss


class Stage:
    """A folder in which one network learns: its history, its newest weights with their optimiser, and its best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = folder / "best.keras"
        self.last = folder / "last.keras"
        self._history = folder / "history.jsonl"

    def history(self) -> list[Epoch]:
        """The epochs that were finished, first to last."""
        if not self._history.exists():
            return []
        epochs = []
        for line in self._history.read_text(encoding="utf-8").splitlines():
            try:
                epochs.append(Epoch.model_validate_json(line))
            except ValidationError:
                break  # a kill cut it short: that epoch is learnt again
        return epochs

    def best_epoch(self) -> Epoch:
        """The epoch whose weights `best` holds."""
        return max(self.history(), key=lambda epoch: epoch.merit)

    @property
    def seconds(self) -> float:
        """How long the finished epochs took."""
        return sum(epoch.seconds for epoch in self.history())

    def append(self, epoch: Epoch) -> None:
        """Add a finished epoch to the history."""
        lines = [line.model_dump_json() + "\n" for line in (*self.history(), epoch)]
        part = self._history.with_suffix(".part")
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(self._history)


class Run(Stage):
    """Paths and records of one run's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pixels = folder / "pixels.npy"
        self.parity = folder / "parity.npz"
        self.features = folder / "features"
        self.activations = folder / "activations"
        self._record = folder / "run.json"

    def stage(self, name: str) -> Stage:
        """The folder of one phase, made if need be."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Stage(folder)

    @classmethod
    def create(cls, root: Path, record: RunRecord) -> "Run":
        """Make a new folder, named after the model and the time (UTC), and write the record."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        folder = root / f"{record.name}-{stamp}"
        number = 1
        while True:
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
                folder = root / f"{record.name}-{stamp}-{number}"
        run = cls(folder)
        run.write(record)
        return run

    @classmethod
    def newest(cls, root: Path, name: str) -> "Run":
        """The newest run of a name that has not ended. Raises `UsageError`."""
        folders = [
            path
            for path in root.glob(f"{name}-*")
            if re.fullmatch(rf"{re.escape(name)}-[0-9]{{8}}-[0-9]{{6}}(-[0-9]+)?", path.name)
        ]
        for folder in sorted(folders, reverse=True):
            run = cls(folder)
            if run._record.exists() and run.read().facts is None:
                return run
        raise UsageError(f"no unfinished run of {name!r} under {root} to resume")

    def read(self) -> RunRecord:
        """Read `run.json`. Raises `UsageError`."""
        try:
            return RunRecord.model_validate_json(self._record.read_bytes())
        except (OSError, ValidationError) as exc:
            raise UsageError(f"{self.folder} is not the folder of a training run: {exc}") from exc

    def write(self, record: RunRecord) -> None:
        """Replace `run.json` atomically."""
        part = self._record.with_suffix(".part")
        part.write_text(json.dumps(record.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
        part.replace(self._record)

    def tidy(self) -> None:
        """Remove what only learning needs, and what can be computed again."""
        self.pixels.unlink(missing_ok=True)
        for folder in (self.features, self.activations):
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder: nothing was learnt in it."""
        shutil.rmtree(self.folder)

    @property
    def has_begun(self) -> bool:
        """Whether it holds anything that took long to make: finished epochs, or rows of a cache."""
        return any(self.folder.rglob("history.jsonl")) or any(self.folder.rglob("cache.json"))

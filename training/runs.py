"""A training run's folder: what it was told, how far it came, its best weights. Enough to resume it or to export it again.

A run that learns in several phases has a folder within its own for each of them.
"""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from models.errors import UsageError
from models.metadata import TeacherFacts, TrainingFacts
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
    confusion: list[list[int]] = []
    """Of the best weights on the validation images; `confusion[i][j]` counts images of class i that were named j."""
    teacher: TeacherFacts | None = None
    """Known once it was asked."""
    mlflow_run: str | None = None
    """Id of the MLflow run that tracks this one."""

    @property
    def told(self) -> "RunRecord":
        """What decides what a run learns: equal for a run that was cut short and one that may go on with it."""
        cleared = {"usd_per_hour": 0.0, "labels": [], "facts": None, "confusion": [], "teacher": None, "mlflow_run": None}
        return self.model_copy(update=cleared)


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

    def __init__(self, folder: Path, name: str = "", watchers: "list[Watcher] | None" = None) -> None:
        """`name`: of the phase, empty where a run has but one. `watchers` are told of every epoch once it is kept."""
        self.folder = folder
        self.name = name
        self.watchers: list[Watcher] = [] if watchers is None else watchers
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
        for watcher in self.watchers:
            watcher(self)


Watcher: TypeAlias = Callable[[Stage], None]


class Run(Stage):
    """Paths and records of one run's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pixels = folder / "pixels.npy"
        self.parity = folder / "parity.npz"
        self.teacher_scores = folder / "teacher.npz"
        self.teacher_pixels = folder / "teacher-pixels.npy"
        self.features = folder / "features"
        self.activations = folder / "activations"
        self._record = folder / "run.json"

    def stage(self, name: str) -> Stage:
        """The folder of one phase, made if need be."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return Stage(folder, name, self.watchers)

    def stages(self) -> list[Stage]:
        """Those that have learnt something."""
        folders = sorted(file.parent for file in self.folder.rglob("history.jsonl") if file.parent != self.folder)
        known = [self, *(Stage(folder, folder.relative_to(self.folder).as_posix()) for folder in folders)]
        return [stage for stage in known if stage.history()]

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

    def note(self, **changes: object) -> RunRecord:
        """Change fields of the record, and return it."""
        record = self.read().model_copy(update=changes)
        self.write(record)
        return record

    def tidy(self) -> None:
        """Remove what only learning needs, and what can be computed again."""
        for file in (self.pixels, self.teacher_scores, self.teacher_pixels):
            file.unlink(missing_ok=True)
        for folder in (self.features, self.activations):
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder: nothing was learnt in it."""
        shutil.rmtree(self.folder)

    @property
    def has_begun(self) -> bool:
        """Whether it holds anything that took long to make: finished epochs, or rows of a cache."""
        return any(self.folder.rglob("history.jsonl")) or any(self.folder.rglob("cache.json"))

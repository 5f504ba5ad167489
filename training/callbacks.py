"""What happens at the end of every epoch: the run's folder is brought up to date, and a person told."""

import time
from pathlib import Path
from typing import Any, Self

import keras

from training.progress import bar, console
from training.runs import Epoch, Stage


class KeepLast(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """After every epoch: the newest weights with their optimiser."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        _save(self.model, self._stage.last)


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """After every epoch: the best weights so far, and the history, which counts an epoch once its weights are kept."""

    def __init__(self, stage: Stage, history: list[Epoch]) -> None:
        super().__init__()
        self._stage = stage
        self._best = max((epoch.merit for epoch in history), default=(-1.0, 0.0))
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        line = Epoch(epoch=epoch + 1, seconds=time.monotonic() - self._started, **values)
        if line.merit > self._best:
            self._best = line.merit
            _save(self.model, self._stage.best)
        self._stage.append(line)


def keepers(stage: Stage, history: list[Epoch], *, average: bool) -> list[keras.callbacks.Callback]:
    """What keeps a stage up to date. With an average, `best` holds averaged weights, and `last` those that learn on."""
    swap = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if average else []
    return [KeepLast(stage), *swap, KeepBest(stage, history)]


def _save(model: keras.Model, path: Path) -> None:
    part = path.with_name(f"part-{path.name}")
    model.save(part)
    part.replace(path)


class EpochProgress(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """A bar over the steps of the epoch under way; where there is no terminal, only a line for each finished epoch.

    It reads what `keepers` have written of an epoch, so it comes after them.
    """

    def __init__(self, stage: Stage, epochs: int, steps: int) -> None:
        super().__init__()
        self._stage = stage
        self._epochs = epochs
        self._bar = bar("steps")
        self._task = self._bar.add_task("", total=steps)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.reset(self._task, description=f"epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        line = self._stage.history()[-1]
        mark = " *" if self._stage.best_epoch() == line else ""
        left = (self._epochs - line.epoch) * line.seconds / 60
        console.print(
            f"epoch {line.epoch:3}/{self._epochs}  loss {line.loss:.3f}  accuracy {line.accuracy:.3f}  "
            f"val loss {line.val_loss:.3f}  val accuracy {line.val_accuracy:.4f}{mark}  "
            f"{line.seconds:.0f} s, {left:.0f} min left",
            highlight=False,
        )

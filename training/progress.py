"""What a person sees while a run is on: a bar per epoch, and a line for each that is done."""

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.data import Advance

console = Console(stderr=True)


class EpochProgress(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """A bar over the steps of the epoch under way; where there is no terminal, only a line for each finished epoch."""

    def __init__(self, epochs: int, steps: int, done: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._finished = done
        self._best = 0.0
        self._bar = bar("steps")
        self._task = self._bar.add_task("", total=steps)
        self._started = time.monotonic()

    def __enter__(self) -> "EpochProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()
        self._bar.reset(self._task, description=f"epoch {epoch + 1}/{self._epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = logs or {}
        accuracy = float(values["val_accuracy"])
        mark = " *" if accuracy > self._best else ""
        self._best = max(self._best, accuracy)
        seconds = time.monotonic() - self._started
        left = (self._epochs - epoch - 1) * seconds / 60
        console.print(
            f"epoch {epoch + 1:3}/{self._epochs}  loss {values['loss']:.3f}  accuracy {values['accuracy']:.3f}  "
            f"val loss {values['val_loss']:.3f}  val accuracy {accuracy:.4f}{mark}  {seconds:.0f} s, {left:.0f} min left",
            highlight=False,
        )


def bar(unit: str) -> Progress:
    """A progress bar on standard error that vanishes when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def advance_bar(progress: Progress, text: str, total: int) -> Advance:
    """Add a task to `progress` and return the function that moves it by one."""
    task = progress.add_task(text, total=total)
    return lambda: progress.advance(task)

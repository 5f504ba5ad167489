"""Fine-tuning within a time: its speed is tried first, so that the learning rate has come down when the time is over."""

import time
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from training import phases
from training.backbones import Backbone
from training.data import TrainingSet
from training.features import Cached
from training.phases import Way
from training.runs import Stage

STEPS = 8
"""That are timed: each takes a second or so where it matters."""

EPOCHS = 3
"""That they may reach into, where there are few images."""


def within(
    seconds: float,
    stage: Stage,
    backbone: Backbone,
    head: keras.Model,
    way: Way,
    cached: Cached | None,
    data: TrainingSet,
    seed: int,
) -> Way:
    """The same way, with as many epochs as fit into some seconds, none perhaps. A stage that has begun keeps its number."""
    file = stage.folder / "epochs"
    if file.exists():
        epochs = int(file.read_text(encoding="utf-8"))
    else:
        epochs = max(0, min(way.settings.epochs, int(seconds // epoch(backbone, head, way, cached, data, seed))))
        part = file.with_suffix(".part")
        part.write_text(f"{epochs}\n", encoding="utf-8")
        part.replace(file)
    return replace(way, settings=way.settings.model_copy(update={"epochs": epochs}))


class StopAfter(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Ends a training whose next epoch would go beyond its time after all, as on a machine that has become slower."""

    def __init__(self, stage: Stage, seconds: float) -> None:
        """`seconds`: of all epochs, those of earlier runs of the stage among them."""
        super().__init__()
        self._stage = stage
        self._seconds = seconds

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        history = self._stage.history()
        if history and self._stage.seconds + history[-1].seconds > self._seconds:
            self.model.stop_training = True


def epoch(backbone: Backbone, head: keras.Model, way: Way, cached: Cached | None, data: TrainingSet, seed: int) -> float:
    """Seconds that an epoch of fine-tuning will take, from some steps that move no weight."""
    model, examples = phases.learner(backbone, head, way, cached, data)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="categorical_crossentropy")
    whole = examples.steps(way.settings.batch_size)
    ends = _Ends()
    batches = examples.training(way.settings.batch_size, seed, range(EPOCHS)).repeat(EPOCHS)
    model.fit(batches.take(1 + STEPS), verbose=0, shuffle=False, callbacks=[ends])
    validation = len(data.validation) / len(data.train) / 3  # a step there and back costs three forward
    return float(np.median(np.diff(ends.times))) * whole * (1 + validation)


class _Ends(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """When each step ended. The first began with compiling, so that only the others tell how long one takes."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.times.append(time.monotonic())

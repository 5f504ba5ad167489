"""Fine-tuning within a time: its speed is tried first, so that the learning rate has come down when the time is over."""

import time
from dataclasses import replace
from typing import Any

import keras

from training import phases
from training.backbones import Backbone
from training.data import TrainingSet
from training.features import Cached
from training.phases import Way
from training.runs import Stage

STEPS = 6
"""That are timed: each takes a second or so where it matters."""


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
    batches = examples.training(way.settings.batch_size, seed, range(3))
    model.fit(batches.take(1), verbose=0, shuffle=False)  # the first step compiles
    whole = examples.steps(way.settings.batch_size)
    steps = min(STEPS, whole)
    began = time.monotonic()
    model.fit(batches.take(steps), verbose=0, shuffle=False)
    validation = len(data.validation) / len(data.train) / 3  # a step there and back costs three forward
    return (time.monotonic() - began) / steps * whole * (1 + validation)

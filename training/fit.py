"""The training loop: augmented batches in, the best weights by validation accuracy out, resumable after every epoch."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.errors import UsageError
from models.machine import usable_cpus
from training.batches import Batches
from training.callbacks import EpochProgress, keepers
from training.heap import keep_freed_memory
from training.recipe import Fitting
from training.runs import Stage


class NothingLearnt(UsageError):
    """Ctrl-C came before the first epoch ended."""


def use_machine(seed: int, cpus: int | None = None) -> None:
    """Seed every generator and keep TensorFlow to this process's share of the machine, or to so many CPUs."""
    keep_freed_memory()
    keras.utils.set_random_seed(seed)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cpus or usable_cpus())
        tf.config.threading.set_inter_op_parallelism_threads(2)
    except RuntimeError:
        pass  # TensorFlow already runs in this process and keeps the threads that it has


def fit(
    stage: Stage,
    settings: Fitting,
    build: Callable[[], keras.Model],
    batches: Batches,
    seed: int,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    quiet: bool = False,
) -> bool:
    """Train what `build` makes until the last epoch or Ctrl-C; `stage.best` holds the best so far. True if it ran to its end.

    A stage that has a history goes on after its last finished epoch. `callbacks` are called once an epoch is kept; what they
    raise ends the training. Raises `NothingLearnt` if Ctrl-C came before any epoch ended.
    """
    history = stage.history()
    done = history[-1].epoch if history else 0
    if done >= settings.epochs:
        return True
    steps = batches.steps(settings.batch_size)
    if history:
        model = keras.models.load_model(stage.last)
    else:
        model = build()
        model.compile(
            optimizer=_optimizer(settings, steps),
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
            metrics=["accuracy"],
        )
    # One more than will be learnt: keras asks for it before it stops.
    training = batches.training(settings.batch_size, seed, range(done, settings.epochs + 1))
    with _ctrl_c(), nullcontext() if quiet else EpochProgress(stage, settings.epochs, steps) as progress:
        try:
            model.fit(
                training,
                validation_data=batches.validation(settings.batch_size),
                epochs=settings.epochs,
                initial_epoch=done,
                callbacks=[
                    *keepers(stage, history, average=settings.average > 0),
                    *([progress] if progress else []),
                    *callbacks,
                ],
                shuffle=False,  # the batches come in an order of their own
                verbose=0,
            )
        except KeyboardInterrupt:
            if not stage.history():
                raise NothingLearnt("stopped before the first epoch ended: there is nothing to keep") from None
            return False
    return True


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Let SIGINT stop the training even where a shell that started it in the background told it to ignore that."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _optimizer(settings: Fitting, steps: int) -> keras.optimizers.Optimizer:
    how = settings.optimizer
    warmup = round(how.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=how.learning_rate / 100,
        decay_steps=max(1, settings.epochs * steps - warmup),
        warmup_target=how.learning_rate,
        warmup_steps=warmup,
    )
    average = {"use_ema": settings.average > 0, "ema_momentum": settings.average}
    if how.name == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=how.weight_decay, **average)
    elif how.name == "adam":
        optimizer = keras.optimizers.Adam(schedule, **average)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=how.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def predict(model: keras.Model, pixels: np.ndarray[Any, np.dtype[np.uint8]], batch_size: int = 64) -> np.ndarray[Any, Any]:
    """Scores float32 [N, classes] of uint8 RGB [N,H,W,3], in inference mode."""
    parts = [
        model(pixels[i : i + batch_size].astype(np.float32), training=False).numpy() for i in range(0, len(pixels), batch_size)
    ]
    return np.concatenate(parts)

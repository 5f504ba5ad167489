"""The training loop: augmented batches in, the best weights by validation accuracy out, resumable after every epoch."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.errors import UsageError
from models.machine import usable_cpus
from training.augment import Augmentation, view
from training.callbacks import Checkpoint, EpochProgress
from training.data import TrainingSet
from training.networks import NETWORKS
from training.recipe import Recipe
from training.runs import Run


def use_machine(seed: int) -> None:
    """Seed every generator and keep TensorFlow to this process's share of the machine."""
    keras.utils.set_random_seed(seed)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(usable_cpus())
        tf.config.threading.set_inter_op_parallelism_threads(2)
    except RuntimeError:
        pass  # TensorFlow already runs in this process and keeps the threads that it has


def fit(run: Run, recipe: Recipe, data: TrainingSet, seed: int) -> bool:
    """Train until the last epoch or Ctrl-C; `run.best` holds the best model so far. True if it ran to its end.

    A run that has a history goes on after its last finished epoch. Raises `UsageError` if Ctrl-C came before any epoch ended.
    """
    history = run.history()
    steps = -(-len(data.train) // recipe.batch_size)
    if history:
        model = keras.models.load_model(run.last)
    else:
        model = NETWORKS[recipe.network](recipe.height, recipe.width, len(data.labels), recipe.dropout)
        model.compile(
            optimizer=_optimizer(recipe, steps),
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=["accuracy"],
        )
    done = history[-1].epoch if history else 0
    batches = _training_batches(data, recipe, seed, first_epoch=done)
    validation = _validation_batches(data, recipe.batch_size)
    with _ctrl_c(), EpochProgress(recipe.epochs, steps, done) as progress:
        try:
            model.fit(
                batches,
                validation_data=validation,
                epochs=recipe.epochs,
                initial_epoch=done,
                callbacks=[Checkpoint(run, history), progress],
                shuffle=False,  # the batches come in an order of their own
                verbose=0,
            )
        except KeyboardInterrupt:
            if not run.history():
                raise UsageError("stopped before the first epoch ended: there is nothing to keep") from None
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


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    settings = recipe.optimizer
    warmup = round(settings.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 100,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        warmup_target=settings.learning_rate,
        warmup_steps=warmup,
    )
    if settings.name == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _training_batches(data: TrainingSet, recipe: Recipe, seed: int, first_epoch: int) -> tf.data.Dataset:
    """Batches in a new order each epoch. Order and views follow from seed and epoch alone, so a resumed run sees the same."""
    epochs = iter(range(first_epoch, recipe.epochs + 1))

    def one_epoch() -> Iterator[tuple[Any, Any, Any]]:
        epoch = next(epochs)
        order = np.random.default_rng((seed, epoch)).permutation(data.train)
        for step, start in enumerate(range(0, len(order), recipe.batch_size)):
            rows = order[start : start + recipe.batch_size]
            targets = np.eye(len(data.labels), dtype=np.float32)[data.targets[rows]]
            yield data.pixels[rows], targets, np.array([seed, epoch * 1_000_000 + step], np.int64)

    height, width = recipe.train_height or recipe.height, recipe.train_width or recipe.width
    signature = (
        tf.TensorSpec((None, recipe.height, recipe.width, 3), tf.uint8),
        tf.TensorSpec((None, len(data.labels)), tf.float32),
        tf.TensorSpec((2,), tf.int64),
    )
    augmentation = Augmentation(**recipe.augmentation.model_dump())
    steps = -(-len(data.train) // recipe.batch_size)
    batches = tf.data.Dataset.from_generator(one_epoch, output_signature=signature)
    batches = batches.map(view(augmentation, height, width), num_parallel_calls=2)
    return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def _validation_batches(data: TrainingSet, batch_size: int) -> tf.data.Dataset:
    def batches() -> Iterator[tuple[Any, Any]]:
        for start in range(0, len(data.validation), batch_size):
            rows = data.validation[start : start + batch_size]
            yield data.pixels[rows].astype(np.float32), np.eye(len(data.labels), dtype=np.float32)[data.targets[rows]]

    signature = (
        tf.TensorSpec((None, *data.pixels.shape[1:]), tf.float32),
        tf.TensorSpec((None, len(data.labels)), tf.float32),
    )
    count = -(-len(data.validation) // batch_size)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)


def predict(model: keras.Model, pixels: np.ndarray[Any, np.dtype[np.uint8]], batch_size: int = 64) -> np.ndarray[Any, Any]:
    """Scores float32 [N, classes] of uint8 RGB [N,H,W,3], in inference mode."""
    parts = [
        model(pixels[i : i + batch_size].astype(np.float32), training=False).numpy() for i in range(0, len(pixels), batch_size)
    ]
    return np.concatenate(parts)

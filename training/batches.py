"""What an epoch shows a network: pixels in random views, or cached rows. It follows from seed and epoch alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.augment import Augmentation, mix, view
from training.data import TrainingSet

Array = np.ndarray[Any, np.dtype[Any]]
Targets: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.float32]
"""Classes int64 [N], or probabilities float32 [N, classes]."""


class Batches(ABC):
    """Examples to learn from and to validate with; a resumed run sees the same ones as a run that was never stopped."""

    def __init__(self, targets: Targets, validation_targets: npt.NDArray[np.int64], classes: int) -> None:
        self._targets = targets if targets.ndim == 2 else np.eye(classes, dtype=np.float32)[targets]
        self._validation_targets = np.eye(classes, dtype=np.float32)[validation_targets]

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return -(-len(self._targets) // batch_size)

    def training(self, batch_size: int, seed: int, epochs: range) -> tf.data.Dataset:
        """Batches (float32 inputs, float32 targets). Each iteration is the next of `epochs`, in an order of its own."""
        numbers = iter(epochs)

        def one_epoch() -> Iterator[tuple[Any, Any, Any]]:
            epoch = next(numbers)
            order = np.random.default_rng((seed, epoch)).permutation(len(self._targets))
            for step, start in enumerate(range(0, len(order), batch_size)):
                places = order[start : start + batch_size]
                inputs = self._look(places, seed, epoch)
                yield inputs, self._targets[places], np.array([seed, epoch * 1_000_000 + step], np.int64)

        signature = (self._signature(), self._target_signature(), tf.TensorSpec((2,), tf.int64))
        batches = tf.data.Dataset.from_generator(one_epoch, output_signature=signature)
        batches = batches.map(self._finish, num_parallel_calls=2)
        return batches.apply(tf.data.experimental.assert_cardinality(self.steps(batch_size))).prefetch(2)

    def validation(self, batch_size: int) -> tf.data.Dataset:
        """Batches (float32 inputs, float32 one-hot targets) of the validation images as they are."""
        count = len(self._validation_targets)

        def batches() -> Iterator[tuple[Any, Any]]:
            for start in range(0, count, batch_size):
                places = np.arange(start, min(start + batch_size, count))
                yield self._look_at_validation(places).astype(np.float32), self._validation_targets[places]

        inputs = tf.TensorSpec(self._signature().shape, tf.float32)
        dataset = tf.data.Dataset.from_generator(batches, output_signature=(inputs, self._target_signature()))
        return dataset.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size))).prefetch(2)

    def _target_signature(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, self._targets.shape[1]), tf.float32)

    @abstractmethod
    def _signature(self) -> tf.TensorSpec:
        """Shape and type of a batch that `_look` gives."""

    @abstractmethod
    def _look(self, places: npt.NDArray[np.int64], seed: int, epoch: int) -> Array:
        """Inputs of training examples, by their places among them."""

    @abstractmethod
    def _look_at_validation(self, places: npt.NDArray[np.int64]) -> Array:
        """Inputs of validation examples, by their places among them."""

    @abstractmethod
    def _finish(self, inputs: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Make of a batch what the network learns from."""


class Pixels(Batches):
    """Images, in views that are new in every epoch."""

    def __init__(self, data: TrainingSet, augmentation: Augmentation, height: int, width: int) -> None:
        """`height` and `width` are those of the views; validation images keep the size that they are served at."""
        super().__init__(data.train_targets, data.targets[data.validation], len(data.labels))
        self._data = data
        self._finish_batch = view(augmentation, height, width)

    def _signature(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self._data.pixels.shape[1:]), tf.uint8)

    def _look(self, places: npt.NDArray[np.int64], seed: int, epoch: int) -> Array:
        return self._data.pixels[self._data.train[places]]

    def _look_at_validation(self, places: npt.NDArray[np.int64]) -> Array:
        return self._data.pixels[self._data.validation[places]]

    def _finish(self, inputs: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self._finish_batch(inputs, targets, seed)


class CachedRows(Batches):
    """Rows that a frozen network gave for several views of each image; every epoch shows each image in one of them."""

    def __init__(
        self,
        views: Sequence[Array],
        validation: Array,
        targets: Targets,
        validation_targets: npt.NDArray[np.int64],
        classes: int,
        *,
        mixup: float = 0.0,
    ) -> None:
        """`views` are arrays [images, ...] whose rows belong to the same images in the same order; see `augment.mix`."""
        super().__init__(targets, validation_targets, classes)
        self._views = views
        self._validation = validation
        self._mixup = mixup

    def _signature(self) -> tf.TensorSpec:
        return tf.TensorSpec((None, *self._validation.shape[1:]), tf.float16)

    def _look(self, places: npt.NDArray[np.int64], seed: int, epoch: int) -> Array:
        chosen = np.random.default_rng((seed, epoch, 1)).integers(0, len(self._views), len(self._targets))[places]
        rows = np.empty((len(places), *self._validation.shape[1:]), np.float16)
        for number in np.unique(chosen):
            rows[chosen == number] = self._views[number][places[chosen == number]]
        return rows

    def _look_at_validation(self, places: npt.NDArray[np.int64]) -> Array:
        return self._validation[places]

    def _finish(self, inputs: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = tf.cast(inputs, tf.float32)
        return mix(inputs, targets, seed, self._mixup) if self._mixup else (inputs, targets)

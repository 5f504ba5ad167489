"""Training sets that were never files."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.metadata import Counts
from training.data import TrainingSet


def training_set(labels: Sequence[str], pixels: npt.NDArray[np.uint8], targets: npt.NDArray[np.int64], train: int) -> TrainingSet:
    """The first images to learn from, the others to validate."""
    count = len(pixels)
    return TrainingSet(
        labels=list(labels),
        pixels=pixels,
        targets=targets,
        train=np.arange(train),
        validation=np.arange(train, count),
        counts=Counts(
            found=count, unreadable=0, in_excluded_set=0, conflicting_duplicates=0, train=train, validation=count - train
        ),
        data=[],
        excluded=[],
        unreadable=[],
    )

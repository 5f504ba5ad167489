"""A training set and a network small enough to fit in a second."""

from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
from keras import layers

from models.metadata import Accuracy, BackboneFacts, Counts, TrainingFacts
from tests.unit.training.sets import training_set
from training.augment import Augmentation
from training.backbones import Backbone, arrays_digest
from training.batches import Pixels
from training.data import TrainingSet
from training.recipe import Recipe
from training.runs import Run, RunRecord

SIDE = 32
EVERYTHING = Augmentation(min_area=0.5, flip=True, brightness=0.2, mixup=0.2)


def small_network(height: int, width: int, classes: int, dropout: float) -> keras.Model:
    """Takes and gives what the real ones do, with a normalisation and a dropout as they have."""
    image = keras.Input((height, width, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(4, 3, strides=4, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax", name="scores")(x))


def small_backbone(name: str = "small", side: int = SIDE, **_: object) -> Backbone:
    """Stands in for a pretrained network: a stem, two blocks with shortcuts, and pooling."""
    image = keras.Input((side, side, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(6, 5, strides=4, use_bias=False, name="stem")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="stem_bn")(x))
    for block in ("block1", "block2"):
        y = layers.Conv2D(6, 3, padding="same", use_bias=False, name=f"{block}_conv")(x)
        x = layers.Add(name=f"{block}_add")([x, layers.BatchNormalization(name=f"{block}_bn")(y)])
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="features")(x), name=name)
    return Backbone(model, [BackboneFacts(name=name, weights="random", sha256=arrays_digest(model))])


def small_recipe(epochs: int = 3) -> Recipe:
    return Recipe.model_validate(
        {
            "backend": "small",
            "network": "residual",
            "height": SIDE,
            "width": SIDE,
            "epochs": epochs,
            "batch_size": 8,
            "dropout": 0,
            "augmentation": {"min_area": 0.5, "flip": True, "brightness": 0.2, "mixup": 0.2},
        }
    )


def small_set(train: int = 20, validation: int = 6) -> TrainingSet:
    """Dark and bright noise."""
    generator = np.random.default_rng(1)
    count = train + validation
    targets = np.arange(count) % 2
    pixels = (
        generator.integers(0, 128, (count, SIDE, SIDE, 3)).astype(np.uint8)
        + (targets * 128).astype(np.uint8)[:, None, None, None]
    )
    return training_set(["dark", "bright"], pixels, targets, train)


def small_batches(augmentation: Augmentation = EVERYTHING) -> Pixels:
    """The small set, in random views."""
    return Pixels(small_set(), augmentation, SIDE, SIDE)


def small_run(root: Path, epochs: int = 3) -> Run:
    record = RunRecord(name="small", recipe=small_recipe(epochs), sources=["a.zip"], excluded=[], seed=7, usd_per_hour=0.1)
    return Run.create(root, record)


def small_facts() -> TrainingFacts:
    return TrainingFacts(
        recipe="cnn",
        settings={"epochs": 3},
        data=[],
        excluded=[],
        counts=Counts(found=26, unreadable=0, in_excluded_set=0, conflicting_duplicates=0, train=20, validation=6),
        parameters=10,
        epochs=3,
        best_epoch=2,
        validation=Accuracy(correct=5, images=6, value=5 / 6, low=0.4, high=0.97),
        minutes=1,
        usd=0.1,
        usd_per_hour=6,
        seed=7,
        cores=2,
        libraries={"keras": "3"},
        finished=datetime(2026, 1, 1, tzinfo=UTC),
    )

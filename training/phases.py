"""The two phases of transfer learning, each of use by itself: a head on frozen features, and the top of a backbone with it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from training import cutting, features
from training.augment import Augmentation
from training.backbones import Backbone
from training.batches import Batches, CachedRows, Pixels
from training.cutting import Cut
from training.data import Advance, TrainingSet
from training.features import Cached, Views
from training.fit import fit
from training.heads import head, learning
from training.progress import advance_bar, bar, console
from training.recipe import AugmentationSettings
from training.runs import Stage
from training.transfer_recipe import FineTuneSettings, HeadSettings


@dataclass(frozen=True)
class Way:
    """How a backbone is going to be fine-tuned on certain images."""

    settings: FineTuneSettings
    augmentation: Augmentation
    cut: Cut | None
    """Below it the backbone stays frozen. None: nowhere."""
    views: Views | None
    """Those whose activations at the cut are kept. None: every epoch makes new ones of the pixels."""


def views(augmentation: AugmentationSettings, crops: int, seed: int) -> Views:
    """The image itself, its mirror image where the augmentation flips, and crops."""
    return Views(augmentation.flip, crops, Augmentation(**augmentation.model_dump()), seed)


def frozen_features(folder: Path, backbone: Backbone, data: TrainingSet, looks: Views) -> Cached:
    """Pooled features of every view of the images, computed or found in `folder`, with a progress bar.

    Those of joined backbones are kept for each of them, in folders of their names.
    """
    if backbone.branches:
        return features.beside([frozen_features(folder / one.model.name, one, data, looks) for one in backbone.branches])
    return _cached(folder, backbone, backbone.model, "features", data, looks)


def fit_head(
    stage: Stage,
    cached: Cached,
    data: TrainingSet,
    settings: HeadSettings,
    seed: int,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    quiet: bool = False,
) -> bool:
    """Fit a head to frozen features, resumably; `stage` then has its history and its best weights. See `fit.fit`."""
    classes = len(data.labels)
    return fit(
        stage,
        settings,
        lambda: head(cached.validation.shape[1], classes, settings),
        _rows(cached, data, settings.mixup),
        seed,
        callbacks=callbacks,
        quiet=quiet,
    )


def plan(
    folder: Path,
    backbone: Backbone,
    data: TrainingSet,
    settings: FineTuneSettings,
    augmentation: AugmentationSettings,
    seed: int,
    budget: int,
) -> list[Way]:
    """Decide where to freeze, before anything is computed. `budget`: bytes that activations may take in `folder`.

    There is one way for the whole backbone; for joined ones that are cut, one for each branch. Raises `UsageError` if a backbone
    can't be cut there, or if the activations would take too much.
    """
    augment = Augmentation(**augmentation.model_dump())
    if settings.share == 1 and settings.freeze_at is None:
        return [Way(settings, augment, None, None)]
    cuts = [cutting.choose(one.model, settings.share, settings.freeze_at) for one in backbone.branches or [backbone]]
    if settings.from_pixels:
        return [Way(settings, augment, cut, None) for cut in cuts]
    looks = views(augmentation, settings.crops, seed)
    features.check_room(folder, sum(features.size(cut.tensor.shape[1:], data, looks) for cut in cuts), budget)
    return [Way(settings, augment, cut, looks) for cut in cuts]


def activations(folder: Path, backbone: Backbone, data: TrainingSet, way: Way) -> Cached | None:
    """What the frozen part gives for every view of the images; None for a way that starts from pixels."""
    if way.cut is None or way.views is None:
        return None
    return _cached(folder, backbone, cutting.below(backbone.model, way.cut), way.cut.layer, data, way.views)


def fine_tune(
    stage: Stage,
    backbone: Backbone,
    head: keras.Model,
    way: Way,
    cached: Cached | None,
    data: TrainingSet,
    seed: int,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> bool:
    """Fit the backbone above the cut together with a head that has learnt; both then hold the best weights. See `fit.fit`."""
    model, batches = learner(backbone, head, way, cached, data)
    complete = fit(stage, way.settings, lambda: model, batches, seed, callbacks=callbacks)
    model.set_weights(keras.models.load_model(stage.best, compile=False).get_weights())
    return complete


def learner(
    backbone: Backbone, head: keras.Model, way: Way, cached: Cached | None, data: TrainingSet
) -> tuple[keras.Model, Batches]:
    """What learns when a backbone is fine-tuned, and from what. It shares its layers with backbone and head."""
    network = backbone.model
    if way.cut is not None and cached is not None:
        return learning(cutting.above(network, way.cut), head), _rows(cached, data, way.settings.mixup)
    if way.cut is not None:
        for layer in cutting.below(network, way.cut).layers:
            layer.trainable = False
    return learning(network, head), Pixels(data, way.augmentation, *network.input_shape[1:3])


def _rows(cached: Cached, data: TrainingSet, mixup: float) -> CachedRows:
    targets = data.train_targets
    return CachedRows(cached.views, cached.validation, targets, data.targets[data.validation], len(data.labels), mixup=mixup)


def _cached(folder: Path, backbone: Backbone, network: keras.Model, where: str, data: TrainingSet, looks: Views) -> Cached:
    """What a part of a backbone gives at a layer."""
    key = features.cache_key(data, backbone.facts, where, network.output_shape, looks)
    began = time.monotonic()
    with bar("views") as progress:

        def advance(text: str, total: int) -> Advance:
            console.print(f"{where}: {total:,} views of images to go through {network.name}", highlight=False)
            return advance_bar(progress, text, total)

        cached = features.features(folder, network, data, looks, key=key, text=where, progress=advance)
    console.print(f"{where}: kept in {folder} after {time.monotonic() - began:.0f} s", highlight=False)
    return cached

"""`parallax train transfer`: what a network learnt from a million photographs is put to use on these images.

First the backbone is frozen: it runs once for each view of an image, and a head learns from the features in seconds. Then, if
asked for, the top of the backbone learns on together with the head: from what the frozen part gives, or from pixels.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from models.repository import Repository
from training import workflow
from training.data import TrainingSet
from training.progress import console
from training.runs import Run, RunRecord
from training.transfer_recipe import TransferRecipe
from training.workflow import Learnt

if TYPE_CHECKING:
    from training.features import Cached

MAX_CACHE_GB = 20.0


def train(run: Run, store: Repository, *, skip_unreadable: bool = False, max_cache_gb: float = MAX_CACHE_GB) -> Path:
    """See `workflow.train`. `max_cache_gb` bounds the activations that are kept on disk while the run lasts."""
    budget = round(max_cache_gb * 1e9)
    return workflow.train(run, store, lambda run, record, data: learn(run, record, data, budget), skip_unreadable=skip_unreadable)


def learn(
    run: Run,
    record: RunRecord,
    data: TrainingSet,
    budget: int,
    *,
    features: "Cached | None" = None,
    minutes: float = math.inf,
) -> Learnt:
    """Both phases; the better of what they came to is what is kept. `budget`: bytes for activations.

    `features`: those of the frozen backbone, if they are at hand. `minutes`: that fine-tuning may take, activations included.
    """
    import keras

    from training import backbones, pace, phases
    from training.fit import NothingLearnt
    from training.heads import assembled

    recipe, seed = cast(TransferRecipe, record.recipe), record.seed
    backbone = backbones.build(
        recipe.backbone,
        recipe.height,
        recipe.width,
        weights=recipe.weights,
        sha256=recipe.weights_sha256,
        options=recipe.backbone_options,
    )
    way = None
    if recipe.fine_tune:
        way = phases.plan(run.folder, backbone, data, recipe.fine_tune, recipe.augmentation, seed, budget)

    if features is None:
        looks = phases.views(recipe.augmentation, recipe.head.crops, seed)
        features = phases.frozen_features(run.features, backbone, data, looks)
    frozen = run.stage("head")
    complete = phases.fit_head(frozen, features, data, recipe.head, seed)
    keras.utils.set_random_seed(seed)  # the head's dropout goes on alike whether or not the head was fitted in this process
    head = keras.models.load_model(frozen.best, compile=False)
    assembled(backbone.model, head).save(run.best)
    learnt = Learnt(frozen, complete, features.seconds + frozen.seconds, "frozen", backbone.facts)
    if not complete or way is None:
        return learnt

    where = f"above {way.cut.layer} ({way.cut.share:.0%} of its layers)" if way.cut else "as a whole"
    accuracy = frozen.best_epoch().val_accuracy
    console.print(f"frozen: validation accuracy {accuracy:.4f}; {backbone.model.name} now learns {where}", highlight=False)
    activations = phases.activations(run.activations, backbone, data, way)
    spent = activations.seconds if activations else 0.0
    tuned = run.stage("fine_tune")
    limits = []
    if math.isfinite(minutes):
        left = minutes * 60 - spent
        way = pace.within(left, tuned, backbone, head, way, activations, data, seed)
        limits = [pace.StopAfter(tuned, left)]
        console.print(f"{way.settings.epochs} epochs fit into {minutes:g} minutes", highlight=False)
        if way.settings.epochs < 1:
            return replace(learnt, seconds=learnt.seconds + spent)
    try:
        complete = phases.fine_tune(tuned, backbone, head, way, activations, data, seed, callbacks=limits)
    except NothingLearnt:
        return replace(learnt, complete=False)
    seconds = learnt.seconds + tuned.seconds + spent
    if tuned.best_epoch().merit <= frozen.best_epoch().merit:
        console.print("fine-tuning has not helped: the frozen backbone is kept")
        return replace(learnt, complete=complete, seconds=seconds)
    assembled(backbone.model, head).save(run.best)
    return Learnt(tuned, complete, seconds, "fine_tuned", backbone.facts)

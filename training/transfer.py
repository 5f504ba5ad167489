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
from training.runs import Run, RunRecord, Stage
from training.tracking.tracker import Tracker
from training.transfer_recipe import TransferRecipe
from training.workflow import Learnt

if TYPE_CHECKING:
    import keras

    from training.backbones import Backbone
    from training.features import Cached
    from training.phases import Way

MAX_CACHE_GB = 20.0


def train(
    run: Run,
    store: Repository,
    *,
    skip_unreadable: bool = False,
    max_cache_gb: float = MAX_CACHE_GB,
    tracker: Tracker | None = None,
) -> Path:
    """See `workflow.train`. `max_cache_gb` bounds the activations that are kept on disk while the run lasts."""
    budget = round(max_cache_gb * 1e9)

    def both_phases(run: Run, record: RunRecord, data: TrainingSet) -> Learnt:
        return learn(run, record, data, budget)

    return workflow.train(run, store, both_phases, skip_unreadable=skip_unreadable, tracker=tracker)


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
    from training import backbones, phases
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
    ways = []
    if recipe.fine_tune:
        ways = phases.plan(run.folder, backbone, data, recipe.fine_tune, recipe.augmentation, seed, budget)

    learner = _Learner(run, recipe, data, seed)
    rows = learner.features(run.features, backbone) if features is None else features
    frozen, head = learner.head("head", rows)
    assembled(backbone.model, head).save(run.best)
    learnt = replace(frozen, backbones=backbone.facts)
    if not learnt.complete or not ways:
        return learnt

    console.print(f"frozen: validation accuracy {frozen.stage.best_epoch().val_accuracy:.4f}", highlight=False)
    if len(ways) > 1:
        tuned, head = learner.tune_branches(backbone, ways, rows, minutes)
    else:
        tuned = learner.tune("fine_tune", run.activations, backbone, head, ways[0], minutes)
    seconds = learnt.seconds + tuned.seconds
    if not _better(tuned.stage, frozen.stage):
        console.print("fine-tuning has not helped: the frozen backbone is kept")
        return replace(learnt, complete=tuned.complete, seconds=seconds)
    assembled(backbone.model, head).save(run.best)
    return replace(tuned, seconds=seconds, phase="fine_tuned", backbones=backbone.facts)


class _Learner:
    """The steps of one run."""

    def __init__(self, run: Run, recipe: TransferRecipe, data: TrainingSet, seed: int) -> None:
        self._run = run
        self._recipe = recipe
        self._data = data
        self._seed = seed

    def features(self, folder: Path, backbone: "Backbone") -> "Cached":
        from training import phases

        views = phases.views(self._recipe.augmentation, self._recipe.head.crops, self._seed)
        return phases.frozen_features(folder, backbone, self._data, views)

    def head(self, stage_name: str, features: "Cached") -> "tuple[Learnt, keras.Model]":
        """Fit a head to what frozen backbones give; the best of it."""
        import keras

        from training import phases

        stage = self._run.stage(stage_name)
        complete = phases.fit_head(stage, features, self._data, self._recipe.head, self._seed)
        keras.utils.set_random_seed(self._seed)  # the head's dropout goes on alike whether or not it was fitted in this process
        head = keras.models.load_model(stage.best, compile=False)
        return Learnt(stage, complete, features.seconds + stage.seconds, "frozen"), head

    def tune(
        self, stage_name: str, folder: Path, backbone: "Backbone", head: "keras.Model", way: "Way", minutes: float
    ) -> Learnt:
        """Let the top of a backbone learn on with its head, for some minutes at most; both then hold the best weights."""
        from training import pace, phases
        from training.fit import NothingLearnt

        where = f"above {way.cut.layer} ({way.cut.share:.0%} of its layers)" if way.cut else "as a whole"
        console.print(f"{backbone.model.name} now learns {where}", highlight=False)
        stage = self._run.stage(stage_name)
        activations = phases.activations(folder, backbone, self._data, way)
        spent = activations.seconds if activations else 0.0
        limits = []
        if math.isfinite(minutes):
            left = minutes * 60 - spent
            way = pace.within(left, stage, backbone, head, way, activations, self._data, self._seed)
            limits = [pace.StopAfter(stage, left)]
            console.print(f"{way.settings.epochs} epochs planned, within {minutes:.0f} minutes", highlight=False)
        complete = True
        if way.settings.epochs:
            try:
                complete = phases.fine_tune(stage, backbone, head, way, activations, self._data, self._seed, callbacks=limits)
            except NothingLearnt:
                complete = False
        return Learnt(stage, complete, stage.seconds + spent, "fine_tuned")

    def tune_branches(
        self, joined: "Backbone", ways: "list[Way]", rows: "Cached", minutes: float
    ) -> "tuple[Learnt, keras.Model]":
        """Let each branch learn on with a head of its own, which then makes room for one head on all of them.

        `rows`: what the branches give while they are frozen, side by side. After Ctrl-C the branches stay as they are then, and
        the head learns on them: that takes minutes.
        """
        from training.backbones import Backbone, arrays_digest
        from training.features import apart

        own = apart(rows, [branch.model.output_shape[1] for branch in joined.branches])
        seconds, complete = 0.0, True
        for branch, way, features in zip(joined.branches, ways, own, strict=True):
            name = branch.model.name
            frozen, head = self.head(f"{name}/head", features)
            tuned, untouched = frozen, branch.model.get_weights()
            if frozen.complete:
                activations = self._run.activations / name
                tuned = self.tune(f"{name}/fine_tune", activations, branch, head, way, minutes / len(ways))
                seconds += tuned.seconds + frozen.stage.seconds
            if not _better(tuned.stage, frozen.stage):
                branch.model.set_weights(untouched)
            complete = tuned.complete
            if not complete:
                break
        branches = [  # what they give follows from other weights now
            Backbone(one.model, [one.facts[0].model_copy(update={"sha256": arrays_digest(one.model)})]) for one in joined.branches
        ]
        tuned_features = self.features(self._run.features / "tuned", replace(joined, branches=branches))
        learnt, head = self.head("tuned_head", tuned_features)
        return replace(learnt, complete=complete and learnt.complete, seconds=seconds + learnt.seconds), head


def _better(tuned: Stage, frozen: Stage) -> bool:
    return bool(tuned.history()) and tuned.best_epoch().merit > frozen.best_epoch().merit

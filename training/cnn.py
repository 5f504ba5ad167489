"""`parallax train cnn`: a network that learns all it knows from these images."""

from pathlib import Path
from typing import cast

from models.repository import Repository
from training import workflow
from training.data import TrainingSet
from training.recipe import Recipe
from training.runs import Run, RunRecord
from training.tracking.tracker import Tracker
from training.workflow import Learnt


def train(run: Run, store: Repository, *, skip_unreadable: bool = False, tracker: Tracker | None = None) -> Path:
    """See `workflow.train`."""
    return workflow.train(run, store, learn, skip_unreadable=skip_unreadable, tracker=tracker)


def learn(run: Run, record: RunRecord, data: TrainingSet) -> Learnt:
    """Fit the recipe's network to pixels, new views in every epoch."""
    from training.augment import Augmentation
    from training.batches import Pixels
    from training.fit import fit
    from training.networks import NETWORKS

    recipe = cast(Recipe, record.recipe)
    augmentation = Augmentation(**recipe.augmentation.model_dump())
    batches = Pixels(data, augmentation, recipe.train_height or recipe.height, recipe.train_width or recipe.width)
    complete = fit(
        run,
        recipe,
        lambda: NETWORKS[recipe.network](recipe.height, recipe.width, len(data.labels), recipe.dropout),
        batches,
        record.seed,
    )
    return Learnt(run, complete, run.seconds)

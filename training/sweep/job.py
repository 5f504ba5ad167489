"""What a sweep is, whole: everything that a worker must be told, in a form that another process can be given."""

import hashlib
import warnings
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import UsageError
from training.sweep.images import Images, Sources
from training.sweep.space import Space
from training.sweep.storage import open_storage

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler

    from training.data import TrainingSet
    from training.sweep.cache import FeatureCache

STARTUP_TRIALS = 8
"""Drawn at random before TPE begins to learn from them."""


@dataclass(frozen=True)
class Sweep:
    """A study with its images and its space. It can be pickled, so it may hold no connection; `storage` may hold a password."""

    name: str
    """Of the study."""
    storage: str
    folder: Path
    """Of the study on this machine: features, heads, locks, and the database if it is SQLite."""
    space: Space
    sources: Sources
    seed: int
    slots: int
    """Trials that it is to have."""
    max_cache_bytes: int

    def __getstate__(self) -> dict[str, Any]:
        """Without what was opened, since a memory map would be sent whole; the space as text, since its types have no names."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return told | {"space": self.space.model_dump_json(exclude_unset=True)}

    def __setstate__(self, told: dict[str, Any]) -> None:
        self.__dict__.update(told | {"space": Space.model_validate_json(told["space"])})

    @cached_property
    def images(self) -> Images:
        """Its images, by size."""
        return Images(self.folder / "images", self.sources)

    @cached_property
    def features(self) -> "FeatureCache":
        """Its features."""
        from training.sweep.cache import FeatureCache  # TensorFlow takes seconds to load

        return FeatureCache(self.folder / "features", self.images, self.space, self.seed, self.max_cache_bytes)

    @property
    def first_side(self) -> int:
        """One of the sizes that images are needed at."""
        sides = self.space.parameters.sizes(self.space.parameters.models[0])
        return sides if isinstance(sides, int) else sides.choice[0]

    def open(self) -> "Study":
        """The study, made if need be. Raises `UsageError` if its storage can't be reached."""
        from optuna import create_study

        from training.sweep.pruning import pruner

        return create_study(
            storage=open_storage(self.storage),
            study_name=self.name,
            direction="maximize",
            load_if_exists=True,
            sampler=self.sampler(0),
            pruner=pruner(self.space),
        )

    def sampler(self, slot: int) -> "BaseSampler":
        """What draws the point of a slot: which worker takes it must not matter, nor may two workers draw alike."""
        import numpy as np
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(np.random.SeedSequence((self.seed, slot)).generate_state(1)[0])
        if self.space.sampling == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # The liar counts trials that others are at as bad ones, so that two workers don't try the same point.
            return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)

    def join(self, study: "Study") -> None:
        """Write into a new study what it is about, or see that an old one is about the same. Raises `UsageError`."""
        mine = self._definition(self.images.at(self.first_side))
        theirs = study.user_attrs.get("definition")
        if theirs is None:
            study.set_user_attr("definition", mine)
        elif theirs != mine:
            differing = ", ".join(sorted(key for key in mine if mine[key] != theirs.get(key)))
            raise UsageError(
                f"study {self.name} was begun with another {differing}: give the same, or begin another one with --study"
            )

    def _definition(self, data: "TrainingSet") -> dict[str, Any]:
        """What must be the same for all who work on a study, in the words of the command line."""
        files = [[file.sha256 for file in files] for files in (data.data, data.excluded)]
        cut = repr((files[0], sorted(self.sources.left_out), data.counts.model_dump(), data.labels))
        return {
            "data": hashlib.sha256(cut.encode()).hexdigest(),
            "exclude": files[1],
            "space": self.space.model_dump(mode="json"),
            "seed": self.seed,
        }

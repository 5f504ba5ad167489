"""Features of frozen backbones, computed once for all trials and processes of a study.

One folder for each backbone, size and strength of crops. Joined backbones are two of them side by side: joining costs nothing.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.metadata import BackboneFacts
from training import features
from training.features import Cached, Views
from training.phases import views
from training.sweep.candidate import Candidate, strengthened
from training.sweep.images import Images
from training.sweep.locks import held
from training.sweep.space import Space

Tell = Callable[[str], None]
"""What is being done, for whoever waits."""


class Part(BaseModel):
    """`part.json`: what is known of a backbone without building it."""

    model_config = ConfigDict(frozen=True)

    facts: BackboneFacts
    parameters: int
    features: int


@dataclass(frozen=True)
class Joined:
    """The features of one backbone, or of several side by side."""

    cached: Cached
    parameters: int


class FeatureCache:
    """What frozen backbones give for the images of a study, in its folder."""

    def __init__(self, folder: Path, images: Images, space: Space, seed: int, budget: int) -> None:
        """`budget`: bytes that one backbone's features may take."""
        self._folder = folder
        self._images = images
        self._space = space
        self._seed = seed
        self._budget = budget

    def of(self, candidate: Candidate, tell: Tell = lambda _: None) -> Joined:
        """The features that a candidate's head learns from; what is not there yet is computed, by one process at a time.

        Raises `UsageError` if the backbone can't be built or its features don't fit on the disk.
        """
        found = [self._part(name, candidate, tell) for name in candidate.parts]
        rows = [cached for _, cached in found]
        parameters = sum(part.parameters for part, _ in found)
        return Joined(features.beside(rows) if len(rows) > 1 else rows[0], parameters)

    def seconds(self) -> float:
        """How long all of it took on this machine."""
        return sum(features.seconds(file.parent) for file in self._folder.glob("*/*/cache.json"))

    def _part(self, name: str, candidate: Candidate, tell: Tell) -> tuple[Part, Cached]:
        side = candidate.image_size
        folder = self._folder / f"{re.sub(r'[^A-Za-z0-9_]', '-', name)}-{side}"
        augmentation = strengthened(self._space.augmentation, candidate.augmentation_strength)
        crops = views(augmentation, candidate.crops, self._seed)
        wanted = {"plain": replace(crops, crops=0)}
        if candidate.crops:
            wanted[f"crops-{candidate.augmentation_strength:g}"] = replace(crops, plain=False)
        part = _read(folder)
        found = self._held(folder, part, side, wanted)
        if part is None or found is None:
            tell(f"waits for {name} at {side}")
            with held(folder / "lock"):
                part = self._compute(folder, name, side, wanted, tell)
            found = self._held(folder, part, side, wanted)
            assert found, "it was computed a moment ago"  # noqa: S101
        return part, found

    def _held(self, folder: Path, part: Part | None, side: int, wanted: dict[str, Views]) -> Cached | None:
        """Everything wanted of a backbone, if it is there."""
        if part is None:
            return None
        data = self._images.at(side)
        looks = [features.held(folder / where, data, look, key=self._key(part, side, look)) for where, look in wanted.items()]
        if any(look is None for look in looks):
            return None
        there = [look for look in looks if look is not None]
        return Cached([row for look in there for row in look.views], there[0].validation, sum(look.seconds for look in there))

    def _compute(self, folder: Path, name: str, side: int, wanted: dict[str, Views], tell: Tell) -> Part:
        part = _read(folder)
        if part and self._held(folder, part, side, wanted):
            return part  # another process has computed it meanwhile
        import keras

        from training import backbones

        data = self._images.at(side)
        keras.utils.set_random_seed(self._seed)  # random weights, as they are built again when the winner is trained
        backbone = backbones.build(name, side, side, weights=self._space.weights)
        network = backbone.model
        part = Part(facts=backbone.facts[0], parameters=network.count_params(), features=network.output_shape[1])
        for where, look in wanted.items():
            features.check_room(folder, features.size((part.features,), data, look), self._budget)
            features.features(
                folder / where,
                network,
                data,
                look,
                key=self._key(part, side, look),
                text=name,
                progress=lambda text, total: _told(tell, f"{text} at {side}", total),
            )
        _write(folder, part)
        return part

    def _key(self, part: Part, side: int, look: Views) -> str:
        """What rows follow from. Not the number of crops: more of them join those that are there."""
        return features.cache_key(self._images.at(side), part.facts, part.features, replace(look, crops=0))


def _told(tell: Tell, text: str, total: int) -> Callable[[], None]:
    """Tell of every hundredth of the way: each telling is written into the database."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done * 100 // total > (done - 1) * 100 // total:
            tell(f"{text}: {done * 100 // total} %")

    return advance


def _read(folder: Path) -> Part | None:
    try:
        return Part.model_validate_json((folder / "part.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(folder: Path, part: Part) -> None:
    unfinished = folder / "part.part"
    unfinished.write_text(part.model_dump_json(indent=2) + "\n", encoding="utf-8")
    unfinished.replace(folder / "part.json")

"""The images of a sweep, decoded once for each size and shared by all processes on a machine."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.metadata import Counts, DataFile, InputSpec
from training.data import Advance, TrainingSet, prepare
from training.sweep.locks import held

Progress = Callable[[str, int], Advance]


@dataclass(frozen=True)
class Sources:
    """Where images come from."""

    data: list[str]
    excluded: list[str]
    left_out: list[str]
    skip_unreadable: bool = False


class Images:
    """Training sets by size; the cut is the same in all of them."""

    def __init__(self, folder: Path, sources: Sources) -> None:
        self._folder = folder
        self._sources = sources
        self._sets: dict[int, TrainingSet] = {}

    def at(self, side: int, progress: Progress = lambda _text, _total: lambda: None) -> TrainingSet:
        """All images at side x side pixels. Raises `DatasetError`, as `data.prepare`."""
        if side not in self._sets:
            folder = self._folder / str(side)
            with held(folder / "lock"):
                self._sets[side] = _read(folder) or self._prepare(folder, side, progress)
        return self._sets[side]

    def remove(self) -> None:
        """Free the disk of pixels. Whoever needs them decodes them again."""
        for file in self._folder.glob("*/set.json"):
            file.unlink()
            (file.parent / "pixels.npy").unlink()
        self._sets.clear()

    def _prepare(self, folder: Path, side: int, progress: Progress) -> TrainingSet:
        spec = InputSpec(height=side, width=side)
        found = prepare(
            self._sources.data,
            self._sources.excluded,
            spec,
            folder / "pixels.npy",
            left_out=self._sources.left_out,
            skip_unreadable=self._sources.skip_unreadable,
            progress=progress,
        )
        _write(folder, found)
        return found


def _write(folder: Path, data: TrainingSet) -> None:
    text = json.dumps(
        {
            "labels": data.labels,
            "targets": data.targets.tolist(),
            "train": data.train.tolist(),
            "validation": data.validation.tolist(),
            "counts": data.counts.model_dump(),
            "data": [file.model_dump() for file in data.data],
            "excluded": [file.model_dump() for file in data.excluded],
            "unreadable": data.unreadable,
        }
    )
    part = folder / "set.part"
    part.write_text(text, encoding="utf-8")
    part.replace(folder / "set.json")


def _read(folder: Path) -> TrainingSet | None:
    try:
        found = json.loads((folder / "set.json").read_bytes())
    except FileNotFoundError:
        return None
    return TrainingSet(
        labels=found["labels"],
        pixels=np.load(folder / "pixels.npy", mmap_mode="r"),
        targets=np.array(found["targets"], np.int64),
        train=np.array(found["train"], np.int64),
        validation=np.array(found["validation"], np.int64),
        counts=Counts.model_validate(found["counts"]),
        data=[DataFile.model_validate(file) for file in found["data"]],
        excluded=[DataFile.model_validate(file) for file in found["excluded"]],
        unreadable=found["unreadable"],
    )

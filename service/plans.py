"""The plans that were measured on this machine, a small JSON file each in `PARALLAX_DATA_DIR/plans`."""

import hashlib
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from models.machine import processor
from service.tuning import Measured, Plan

log = logging.getLogger("parallax.plans")

MEANING = "batches of one inference, single images in one call, lanes by their time"
"""What a plan's batch size stands for, and what others were held against. What was kept under another rule is measured anew."""


class Kept(NamedTuple):
    """What is known of a model on this machine."""

    plan: Plan
    """The best."""
    measured: list[Measured]
    """What it was chosen from."""
    threads_alone: int = 1
    """With which an image is quickest that finds nobody else there."""


class _Speed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: PositiveInt
    lanes: PositiveInt
    threads: PositiveInt
    images_per_second: float = 0.0

    @property
    def plan(self) -> Plan:
        return Plan(self.batch_size, self.lanes, self.threads)


class _File(BaseModel):
    """What a file holds: for whom it was measured, in words, and a `Kept`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured_for: list[str]
    plan: _Speed
    threads_alone: PositiveInt
    measured: list[_Speed]


class PlanBook:
    """Plans by what they depend on: the model's digest, the processor, the cores, the runtime."""

    def __init__(self, folder: Path, cpus: int, *, speeds_until: float = math.inf) -> None:
        """`folder` need not exist. `speeds_until`: seconds since the epoch, when what `speed` tells must have been kept."""
        self._folder = folder
        self._speeds_until = speeds_until
        self._machine = [processor(), f"{cpus} cores", MEANING]

    def find(self, model: Sequence[str]) -> Kept | None:
        """What was kept for a model (its digest and what else it runs on)."""
        path = self._path(model)
        try:
            file = _File.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as exc:
            log.warning("a kept plan can't be read; it is measured anew", extra={"file": path.name, "reason": str(exc)[:200]})
            return None
        return Kept(
            file.plan.plan, [Measured(speed.plan, speed.images_per_second) for speed in file.measured], file.threads_alone
        )

    def speed(self, model: Sequence[str]) -> float | None:
        """Images/s of a model on the plan that was kept for it, if that was measured in time."""
        try:
            in_time = self._path(model).stat().st_mtime <= self._speeds_until
        except OSError:
            return None
        kept = self.find(model) if in_time else None
        return next((tried.images_per_second for tried in kept.measured if tried.plan == kept.plan), None) if kept else None

    def keep(self, model: Sequence[str], kept: Kept) -> None:
        """Write it down for the next start. What can't be written is logged: the service goes on without."""
        speeds = [_Speed(**asdict(tried.plan), images_per_second=round(tried.images_per_second, 1)) for tried in kept.measured]
        chosen = next((speed for speed in speeds if speed.plan == kept.plan), _Speed(**asdict(kept.plan)))
        content = _File(
            measured_for=[*model, *self._machine], plan=chosen, threads_alone=kept.threads_alone, measured=speeds
        ).model_dump_json(indent=1)
        path = self._path(model)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
                file.write(content)
            Path(file.name).replace(path)
        except OSError as exc:
            log.warning("the plan could not be kept", extra={"folder": str(self._folder), "reason": exc.strerror or str(exc)})

    def _path(self, model: Sequence[str]) -> Path:
        key = hashlib.sha256("\n".join([*model, *self._machine]).encode()).hexdigest()
        return self._folder / f"{key[:32]}.json"

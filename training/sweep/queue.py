"""The trials of a study as numbered slots that must be filled once each, whoever dies on the way.

Optuna counts trials; several processes that count at the same time would run too many, and a killed one leaves its trial
running for ever. So the trials are queued ahead, `slot` by `slot`. Taking one from the queue is atomic in the database. If two
processes fill the same gap at once, the trial with the lower number counts and the other is dropped when its turn comes.
"""

import socket
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from optuna import Study, create_trial
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from models.errors import UsageError
from training.sweep.locks import is_held, try_hold
from training.sweep.storage import GRACE_S

LIVE = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_LOSSES = 5
"""A trial that has killed so many workers is not given to another."""


class Dropped(Exception):  # no error: the trial is simply not needed
    """The slot of this trial is filled by another one."""


class Owner:
    """A worker's name in the study, with a lock that shows to others on this machine whether it lives."""

    def __init__(self, folder: Path) -> None:
        self.facts = {"host": socket.gethostname(), "lock": f"{uuid4().hex}.lock"}
        held = try_hold(folder / "workers" / self.facts["lock"])
        assert held, "nobody else knows the name of a new lock"  # noqa: S101
        self._path, self._lock = folder / "workers" / self.facts["lock"], held

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)  # what it leaves behind it has finished
        self.die()

    def die(self) -> None:
        """Let go of the lock, as the kernel does for a process that is killed."""
        self._lock.let_go()


class Queue:
    """What is to be tried, is being tried, and has been."""

    def __init__(self, study: Study, slots: int, folder: Path) -> None:
        """`slots`: trials that the study is to have. `folder`: of the study on this machine."""
        self.study = study
        self.slots = slots
        self._folder = folder
        self._orphans: dict[int, float] = {}

    def trials(self) -> dict[int, FrozenTrial]:
        """The trial that counts of each slot that has one."""
        found: dict[int, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=LIVE):
            slot = trial.user_attrs.get("slot")
            if slot is not None:
                found.setdefault(slot, trial)
        return found

    def finished(self) -> list[FrozenTrial]:
        """The trials that came to an end, one of each slot."""
        return [trial for trial in self.trials().values() if trial.state in FINISHED]

    @property
    def is_done(self) -> bool:
        """Whether every slot is filled."""
        return len(self.finished()) >= self.slots

    def refresh(self) -> None:
        """Take trials from workers that are dead, and queue whatever no trial stands for.

        Raises `UsageError` if a trial has killed its workers again and again.
        """
        self._release()
        there = self.trials()
        for slot in range(self.slots):
            if slot not in there:
                self._queue(slot)

    def waiting(self) -> bool:
        """Whether there is a trial to take."""
        return any(trial.state == TrialState.WAITING for trial in self.trials().values())

    def claim(self, trial: Trial, owner: Owner) -> int:
        """Put a worker's name on a trial that it was given. Returns the slot. Raises `Dropped` if another trial fills it."""
        slot = trial.user_attrs.get("slot")
        there = self.trials()
        if slot is None or there[slot].number != trial.number:
            trial.set_user_attr("why", "another trial fills its place")
            raise Dropped
        trial.set_user_attr("owner", owner.facts)
        return int(slot)

    def was_taken(self, number: int) -> bool:
        """Whether a trial was taken from its worker, which somebody thought dead."""
        return self.study.trials[number].state == TrialState.FAIL

    def _release(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)  # those whose heart beat on another machine, and does no more
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_dead(trial):
                with suppress(ValueError, UpdateFinishedTrialError):  # another process was quicker
                    self.study.tell(trial.number, state=TrialState.FAIL)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Whether nobody will finish a running trial, as far as that can be known here; else its heartbeat will tell."""
        owner: Mapping[str, Any] | None = trial.user_attrs.get("owner")
        if owner is None:  # killed before it could write its name, and before its heart beat
            return time.monotonic() - self._orphans.setdefault(trial.number, time.monotonic()) > GRACE_S
        lock = self._folder / "workers" / str(owner["lock"])
        if owner["host"] != socket.gethostname() or not lock.exists():
            return False
        return not is_held(lock)

    def _queue(self, slot: int) -> None:
        lost = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            if trial.user_attrs.get("slot") == slot and "why" not in trial.user_attrs
        ]
        if len(lost) >= MAX_LOSSES:
            raise UsageError(
                f"trial {lost[-1].number} and those that it repeats have ended their workers {len(lost)} times (is there enough "
                f"memory?): {lost[-1].params}. Narrow the space or take fewer --concurrent, and begin another --study"
            )
        before = lost[-1] if lost else None
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=before.params if before else {},  # the same again: a trial isn't to be lost because it takes long
                distributions=before.distributions if before else {},
                user_attrs={"slot": slot},
            )
        )

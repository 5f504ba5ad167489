"""One trial: a point of the space is drawn, a head learns on cached features, and how well it does is told after every epoch."""

import math
import shutil
import time
from typing import Any

import keras
from optuna import Trial, TrialPruned

from training import phases
from training.runs import Stage
from training.sweep.candidate import Candidate, draw
from training.sweep.job import Sweep
from training.sweep.queue import Owner, Queue


class Report(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Tells the study of every epoch, and ends the trial if the study says so."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self._trial = trial

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = logs or {}
        self._trial.report(float(values["val_accuracy"]), epoch + 1)
        if not math.isfinite(float(values["loss"])):
            raise TrialPruned("it diverged")
        if self._trial.should_prune():
            raise TrialPruned("it fell behind")


class Objective:
    """What Optuna calls for each trial. Returns the best validation accuracy."""

    def __init__(self, sweep: Sweep, queue: Queue, owner: Owner, share: float) -> None:
        """`share`: of the machine that this worker has, for the account of what a trial costs."""
        self._sweep = sweep
        self._queue = queue
        self._owner = owner
        self._share = share
        self.number = -1
        """Of the trial that was taken last."""

    def __call__(self, trial: Trial) -> float:
        self.number = trial.number
        try:
            return self._run(trial)
        except KeyboardInterrupt:
            trial.set_user_attr("why", "interrupted")
            raise

    def _run(self, trial: Trial) -> float:
        slot = self._queue.claim(trial, self._owner)
        trial.study.sampler = self._sweep.sampler(slot)
        candidate = draw(self._sweep.space, trial)
        joined = self._sweep.features.of(candidate, lambda text: trial.set_user_attr("doing", text))
        trial.set_user_attr("doing", "the head learns")
        data = self._sweep.images.at(candidate.image_size)
        stage = trial_stage(self._sweep, trial.number)
        began = time.monotonic()
        keras.utils.set_random_seed(self._sweep.seed)
        try:
            complete = phases.fit_head(
                stage, joined.cached, data, candidate.head, self._sweep.seed, callbacks=[Report(trial)], quiet=True
            )
        finally:
            seconds = time.monotonic() - began
            stage.last.unlink(missing_ok=True)
            if stage.history():
                self._note(trial, candidate, stage, joined.parameters, seconds)
        if not complete:
            raise KeyboardInterrupt  # which `fit` takes for the wish to keep what there is
        return stage.best_epoch().val_accuracy

    def _note(self, trial: Trial, candidate: Candidate, stage: Stage, backbone_parameters: int, seconds: float) -> None:
        data = self._sweep.images.at(candidate.image_size)
        best = keras.models.load_model(stage.best, compile=False)
        facts = {
            "correct": round(stage.best_epoch().val_accuracy * len(data.validation)),
            "images": len(data.validation),
            "epochs": len(stage.history()),
            "parameters": backbone_parameters + best.count_params(),
            "seconds": seconds,
            "machine_seconds": seconds * self._share,
        }
        trial.set_user_attr("result", facts)


def trial_stage(sweep: Sweep, number: int) -> Stage:
    """The folder in which a trial's head learns: a new one, since a trial is never gone on with."""
    folder = sweep.folder / "trials" / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Stage(folder)

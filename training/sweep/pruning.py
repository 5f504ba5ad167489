"""When a trial is ended before its last epoch."""

from typing import TYPE_CHECKING

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import TrialState

from training.sweep.space import EarlyTermination, Range, Space

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

REPORTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class BanditPruner(BasePruner):
    """Azure Machine Learning's bandit policy, for a metric of at least 0 that is to be as large as possible.

    Every `evaluation_interval` reports, but not before `delay_evaluation` of them, a trial ends if the best that it has
    reported is less than the best that any trial had reported by then, divided by `1 + slack_factor`
    (learn.microsoft.com/azure/machine-learning/how-to-tune-hyperparameters, "Bandit policy"; azure.ai.ml.sweep.BanditPolicy).
    The best trial of its interval never ends.
    """

    def __init__(self, slack_factor: float, evaluation_interval: int = 1, delay_evaluation: int = 0) -> None:
        self._slack_factor = slack_factor
        self._interval = evaluation_interval
        self._delay = delay_evaluation

    def prune(self, study: "Study", trial: "FrozenTrial") -> bool:
        """Whether to end the trial after its newest report; reports are numbered from 1."""
        step = trial.last_step
        if step is None or step % self._interval or step < self._delay:
            return False
        own = best_by(trial, step)
        others = [best_by(other, step) for other in study.get_trials(deepcopy=False, states=REPORTED)]
        return own < max([own, *others]) / (1 + self._slack_factor)


def best_by(trial: "FrozenTrial", step: int) -> float:
    """The best that a trial had reported by a step; below every metric if it had reported nothing."""
    return max((value for at, value in trial.intermediate_values.items() if at <= step), default=float("-inf"))


def pruner(space: Space) -> BasePruner:
    """What a space asks for."""
    how: EarlyTermination = space.early_termination
    if how.type == "bandit" and how.slack_factor is not None:
        return BanditPruner(how.slack_factor, how.evaluation_interval, how.delay_evaluation)
    if how.type == "median":
        return MedianPruner(n_warmup_steps=how.delay_evaluation, interval_steps=how.evaluation_interval)
    if how.type == "hyperband":
        epochs = space.parameters.epochs
        most = epochs.max if isinstance(epochs, Range) else epochs if isinstance(epochs, int) else max(epochs.choice)
        return HyperbandPruner(min_resource=max(1, how.delay_evaluation), max_resource=most)
    return NopPruner()

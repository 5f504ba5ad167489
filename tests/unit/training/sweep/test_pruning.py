"""The law of Azure's bandit policy, and which policy a space gets."""

from collections.abc import Mapping

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as some
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from training.sweep.pruning import BanditPruner, pruner
from training.sweep.space import Space

METRIC = some.floats(0, 1)
REPORTS = some.lists(METRIC, min_size=1, max_size=12)
SLACK = some.floats(0.001, 2)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def trial(reports: list[float], state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    values = dict(enumerate(reports, 1))
    complete = state == TrialState.COMPLETE
    return optuna.create_trial(state=state, intermediate_values=values, value=max(reports) if complete else None)


def study(*others: list[float]) -> optuna.Study:
    made = optuna.create_study(direction="maximize")
    for reports in others:
        made.add_trial(trial(reports))
    return made


@pytest.mark.parametrize(("metric", "ends"), [(0.66, True), (0.67, False)])
def test_azures_own_example(metric: float, ends: bool) -> None:
    """The best run has 0.8 at interval 10 and the slack factor is 0.2: what has less than 0.8 / 1.2 = 0.66... ends."""
    assert BanditPruner(0.2).prune(study([0.8] * 10), trial([metric] * 10)) is ends


@given(SLACK, some.lists(REPORTS, max_size=4), REPORTS)
def test_a_trial_ends_if_its_best_is_less_than_the_best_by_then_divided_by_one_and_the_slack(
    slack: float, others: list[list[float]], own: list[float]
) -> None:
    by_then = [max(reports[: len(own)]) for reports in others]
    expected = any(max(own) < best / (1 + slack) for best in by_then)
    assert BanditPruner(slack).prune(study(*others), trial(own)) is expected


@given(SLACK, some.lists(REPORTS, max_size=4), REPORTS)
def test_the_best_of_its_interval_never_ends(slack: float, others: list[list[float]], own: list[float]) -> None:
    assert not BanditPruner(slack).prune(study(*others), trial([*own, 1.0]))


@given(SLACK, some.floats(0, 2), some.lists(REPORTS, max_size=4), REPORTS)
def test_more_slack_never_ends_more(slack: float, more: float, others: list[list[float]], own: list[float]) -> None:
    if BanditPruner(slack + more).prune(study(*others), trial(own)):
        assert BanditPruner(slack).prune(study(*others), trial(own))


@given(some.integers(1, 5), some.integers(0, 12), some.integers(1, 12))
def test_it_looks_at_every_interval_from_the_delay_on(interval: int, delay: int, reports: int) -> None:
    looks = reports >= delay and reports % interval == 0
    assert BanditPruner(0.1, interval, delay).prune(study([1.0] * 12), trial([0.1] * reports)) is looks


def test_trials_that_run_or_were_ended_count_and_those_that_wait_or_failed_do_not() -> None:
    for state, counts in {TrialState.PRUNED: True, TrialState.FAIL: False, TrialState.WAITING: False}.items():
        made = study()
        made.add_trial(trial([0.9], state))
        assert BanditPruner(0.1).prune(made, trial([0.5])) is counts, state


def test_a_trial_that_has_reported_nothing_goes_on() -> None:
    made = study([0.9])
    asked = made.ask()
    assert not BanditPruner(0.1).prune(made, made.trials[asked.number])


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"type": "bandit", "slack_factor": 0.1}, BanditPruner),
        ({"type": "median", "delay_evaluation": 3}, MedianPruner),
        ({"type": "hyperband"}, HyperbandPruner),
        ({"type": "none"}, NopPruner),
        ({}, NopPruner),
    ],
)
def test_a_space_gets_the_policy_that_it_asks_for(how: Mapping[str, object], kind: type[BasePruner]) -> None:
    space = Space.model_validate({"early_termination": how, "parameters": {"epochs": {"min": 3, "max": 9}}})
    assert type(pruner(space)) is kind

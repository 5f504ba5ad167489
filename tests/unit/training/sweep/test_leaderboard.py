"""Ranking, its figures, and the report."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from models import statistics
from models.errors import UsageError
from training.backbone_names import understand
from training.recipe import settings_of_teacher
from training.sweep.finish import Ending, recipe, winner_of
from training.sweep.images import Sources
from training.sweep.job import Sweep
from training.sweep.leaderboard import Leaderboard, latency_ms, leaderboard, networks, table
from training.sweep.report import write_report
from training.sweep.space import Space

SPACE = Space.model_validate(
    {
        "weights": "random",
        "parameters": {
            "model_name": {"choice": ["MobileNetV2", "MobileNet+MobileNetV2"]},
            "image_size": 32,
            "learning_rate": {"min": 0.001, "max": 0.1},
            "augmentation_strength": 0.5,
        },
        "augmentation": {"min_area": 0.5, "flip": True},
    }
)
LATENCIES = {("MobileNetV2", 32): 3.0, ("MobileNet+MobileNetV2", 32): 5.0}


def study(*trials: tuple[str, int, TrialState]) -> optuna.Study:
    made = optuna.create_study(direction="maximize")
    space = {
        "model_name": optuna.distributions.CategoricalDistribution(["MobileNetV2", "MobileNet+MobileNetV2"]),
        "learning_rate": optuna.distributions.FloatDistribution(0.001, 0.1),
    }
    for number, (model, correct, state) in enumerate(trials):
        result = {"correct": correct, "images": 100, "epochs": 3, "parameters": 7, "seconds": 60.0, "machine_seconds": 30.0}
        made.add_trial(
            optuna.create_trial(
                state=state,
                value=correct / 100,
                params={"model_name": model, "learning_rate": 0.01 * (number + 1)},
                distributions=space,
                intermediate_values={1: 0.5, 2: correct / 100},
                user_attrs={"result": result},
            )
        )
    return made


def board(made: optuna.Study) -> Leaderboard:
    return leaderboard("s", made.trials, SPACE, 0.1, 120.0, LATENCIES)


BOTH, ONE = "MobileNet+MobileNetV2", "MobileNetV2"
FIVE = (
    (BOTH, 90, TrialState.COMPLETE),
    (ONE, 95, TrialState.PRUNED),
    (ONE, 80, TrialState.COMPLETE),
    (ONE, 90, TrialState.COMPLETE),
    (ONE, 90, TrialState.COMPLETE),
)


def test_the_best_stands_first_of_equals_the_quicker_and_what_was_ended_last() -> None:
    rows = board(study(*FIVE)).rows
    assert [row.trial for row in rows] == [3, 4, 0, 2, 1]
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0].accuracy == statistics.accuracy(90, 100)
    assert (rows[0].minutes, rows[0].usd, rows[0].latency_ms) == (1.0, 0.0008, 3.0)


def test_one_network_of_each_kind_is_timed_with_its_best_head() -> None:
    timed = networks(SPACE, study(*FIVE).trials)
    assert [(one.model_name, round(one.learning_rate, 3)) for one in timed] == [(BOTH, 0.01), (ONE, 0.02)]


def test_a_latency_is_that_of_the_exported_network() -> None:
    small = networks(SPACE, study((ONE, 90, TrialState.COMPLETE)).trials)[0]
    assert 0 < latency_ms(small, "random", 2) < 1000


def test_without_a_trial_that_ended_there_is_no_winner() -> None:
    with pytest.raises(UsageError, match="no trial of s came to its end"):
        winner_of(board(study((ONE, 95, TrialState.PRUNED))))
    with pytest.raises(UsageError, match="no trial"):
        winner_of(board(study()))


@pytest.mark.parametrize(("correct", "backbones"), [(80, 1), (99, 2)])
def test_the_winner_becomes_a_recipe(tmp_path: Path, correct: int, backbones: int) -> None:
    sweep = Sweep("s", "sqlite://", tmp_path, SPACE, Sources(["a.zip"], [], []), 1, 2, 10**9)
    made = board(study((BOTH, correct, TrialState.COMPLETE), (ONE, 90, TrialState.COMPLETE)))
    teacher = settings_of_teacher("better/3", None)
    winner = recipe(sweep, made, Ending("mine", 90, mirrored=True, usd_per_hour=0.1, distill=teacher))
    assert winner.distill
    assert (winner.distill.teacher, winner.distill.version, winner.distill.weight) == ("better", "3", 0.5)
    assert winner.fine_tune
    assert (winner.kind, winner.backend, winner.mirrored, winner.weights) == ("automl", "mine", True, "random")
    assert (winner.height, winner.augmentation.min_area, winner.fine_tune.share) == (32, 0.75, 0.35)
    assert len(understand(winner.backbone)) == backbones
    assert (winner.sweep.trials, winner.sweep.winner) == (2, made.rows[0].trial)
    frozen = recipe(sweep, made, Ending("mine", 0, mirrored=False, usd_per_hour=0.1))
    assert (frozen.fine_tune, frozen.distill) == (None, None)


def test_the_report_is_whole_in_itself(tmp_path: Path) -> None:
    made = study(*FIVE)
    write_report(tmp_path / "report.html", made, board(made))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("Plotly.newPlot(") == 6
    assert "<script src" not in text
    assert "<td>90.0% (82.6% to 94.5%)" in text


def test_a_plot_that_can_not_be_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: optuna.Study) -> None:
        raise ValueError("too few <trials>")

    monkeypatch.setattr(optuna.visualization, "plot_slice", broken)
    made = study((ONE, 90, TrialState.COMPLETE))
    write_report(tmp_path / "report.html", made, board(made))
    assert "<p>No plot: too few &lt;trials&gt;</p>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_table_of_nothing_can_be_shown() -> None:
    assert table(board(study())).row_count == 0
    assert table(board(study(*FIVE))).row_count == 5

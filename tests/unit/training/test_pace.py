"""Fine-tuning in a given time."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tests.unit.training.small import small_backbone, small_set
from training import pace, phases
from training.heads import head
from training.recipe import AugmentationSettings
from training.runs import Epoch, Stage
from training.transfer_recipe import FineTuneSettings, HeadSettings


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def way(tmp_path: Path) -> phases.Way:
    settings = FineTuneSettings(share=1, epochs=7, batch_size=4)
    return phases.plan(tmp_path, small_backbone(), small_set(), settings, AugmentationSettings(flip=True), 1, 10**9)[0]


def test_trying_the_speed_moves_no_weight(way: phases.Way) -> None:
    backbone, on_top = small_backbone(), head(6, 2, HeadSettings())
    before = [*backbone.model.get_weights(), *on_top.get_weights()]
    assert 0 < pace.epoch(backbone, on_top, way, None, small_set(), 1) < 30
    for old, new in zip(before, [*backbone.model.get_weights(), *on_top.get_weights()], strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_compiling_takes_is_no_part_of_an_epoch(way: phases.Way, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter([100.0, *(102.0 + 2 * step for step in range(pace.STEPS))])  # the first is over after 100 s, each other after 2
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: next(steps)))
    data = small_set()
    whole = -(-len(data.train) // way.settings.batch_size) * (1 + len(data.validation) / len(data.train) / 3)
    assert pace.epoch(small_backbone(), head(6, 2, HeadSettings()), way, None, data, 1) == pytest.approx(2 * whole)


@pytest.mark.parametrize(("seconds", "epochs"), [(100, 7), (35, 3), (9.9, 0), (-5, 0)])
def test_as_many_epochs_as_fit_and_no_more_than_wanted(
    stage: Stage, way: phases.Way, monkeypatch: pytest.MonkeyPatch, seconds: float, epochs: int
) -> None:
    backbone, on_top, data = small_backbone(), head(6, 2, HeadSettings()), small_set()
    monkeypatch.setattr(pace, "epoch", lambda *_: 10.0)
    assert pace.within(seconds, stage, backbone, on_top, way, None, data, 1).settings.epochs == epochs
    again = pace.within(seconds + 20, stage, backbone, on_top, way, None, data, 1)
    assert again.settings.epochs == epochs, "a run that goes on keeps its number"


def test_a_training_that_has_become_slow_ends_before_its_time_is_over(stage: Stage) -> None:
    stop = pace.StopAfter(stage, 25)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.stop_training = False  # as `fit` begins
    stop.set_model(model)
    ended = []
    for number in (1, 2):
        stage.append(Epoch(epoch=number, seconds=10, loss=1, accuracy=0, val_loss=1, val_accuracy=0))
        stop.on_epoch_end(number - 1)
        ended.append(bool(model.stop_training))
    assert ended == [False, True]

"""Speeds are measured in turns, on all cores, decoding included."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models.metadata import InputSpec, Precision
from models.runtime import OnnxModel
from tests.support.images import encoded
from tests.unit.training.hand_made import SIDE, layered
from training import throughput

SPEC = InputSpec(height=SIDE, width=SIDE)


class Watched(OnnxModel):
    """Tells a list when it is run."""

    def tell(self, name: Precision, turns: list[Precision]) -> "Watched":
        self.name, self.turns = name, turns
        return self

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        assert images.shape == (throughput.BATCH, SIDE, SIDE, 3)
        self.turns.append(self.name)
        return super().run(images)


def test_models_take_turns_on_every_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    path = layered(tmp_path / "model.onnx")
    turns: list[Precision] = []
    models: dict[Precision, OnnxModel] = {name: Watched(path, threads=1).tell(name, turns) for name in ("fp32", "int8")}
    speeds = throughput.images_per_second(models, encoded(width=90), SPEC, rounds=2, seconds=0.0)
    assert turns == ["fp32", "fp32", "int8", "int8"] * 3, "a round to warm up, and two"
    assert set(speeds) == {"fp32", "int8"}
    assert min(speeds.values()) > 0


def test_a_model_that_does_twice_the_work_is_half_as_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_CPUS", "1")
    clock = iter(range(10**6))
    monkeypatch.setattr("training.throughput.time.perf_counter", lambda: next(clock) / 1000)

    class Slow(OnnxModel):
        def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            for _ in range(20):
                next(clock)
            return super().run(images)

    path = layered(tmp_path / "model.onnx")
    models: dict[Precision, OnnxModel] = {"fp32": Slow(path, threads=1), "int8": OnnxModel(path, threads=1)}
    speeds = throughput.images_per_second(models, encoded(), SPEC, rounds=3, seconds=1.0)
    assert speeds["int8"] > 10 * speeds["fp32"]


def test_the_round_that_warms_up_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_CPUS", "1")
    clock = iter(range(10**6))
    monkeypatch.setattr("training.throughput.time.perf_counter", lambda: next(clock) / 1000)

    class SlowAtFirst(OnnxModel):
        warm = False

        def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            for _ in range(0 if self.warm else 10_000):
                next(clock)
            self.warm = True
            return super().run(images)

    path = layered(tmp_path / "model.onnx")
    models: dict[Precision, OnnxModel] = {"fp32": OnnxModel(path, threads=1), "int8": SlowAtFirst(path, threads=1)}
    speeds = throughput.images_per_second(models, encoded(), SPEC, rounds=1, seconds=0.0)
    assert speeds["int8"] == pytest.approx(speeds["fp32"])

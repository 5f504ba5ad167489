"""Models of the store on ONNX Runtime. The CUDA paths run here without a GPU: machines.py answers for one."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import BrokenModel, ImageTooLarge
from service.backends import sessions as sessions_module
from service.errors import BackendFailed, ConfigurationError
from service.tuning import CUDA_BATCHES, default_plan
from tests.support.images import encoded, plain
from tests.support.models import tiny_model
from tests.unit.service.machines import CPU_PROVIDER, OnCpu, OnCuda, machine
from tests.unit.service.stores import infer, load_tiny


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_auto_falls_back_to_the_cpu_and_says_why(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    machine(monkeypatch, missing="libcuda.so.1")
    tiny_model(store)
    backend = load_tiny(store)
    assert backend.identity.provider == CPU_PROVIDER
    assert "libcuda.so.1" in backend.describe()["note"]


def test_a_session_that_comes_up_without_cuda_ends_the_start_if_cuda_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(sessions_module, "OnnxModel", OnCpu)
    tiny_model(store)
    with pytest.raises(ConfigurationError, match=f"fell back to {CPU_PROVIDER}"):
        load_tiny(store, device="cuda")


def test_a_session_that_comes_up_without_cuda_is_told_of_under_auto(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(sessions_module, "OnnxModel", OnCpu)
    tiny_model(store)
    backend = load_tiny(store)
    assert backend.identity.provider == CPU_PROVIDER
    assert "fell back" in backend.describe()["note"]
    assert backend.plan == default_plan(CPU_PROVIDER, 2, 0.0), "and it is planned as a CPU's"
    assert backend._open().model.one_by_one


async def test_on_cuda_batches_are_padded_to_few_sizes_that_were_all_seen_before(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    machine(monkeypatch)
    sessions: list[OnCuda] = []

    def session(*args: Any, **options: Any) -> OnCuda:  # noqa: ANN401
        sessions.append(OnCuda(*args, **options))
        return sessions[-1]

    monkeypatch.setattr(sessions_module, "OnnxModel", session)
    tiny_model(store, labels=("dark", "bright"))
    backend = load_tiny(store, device="cuda")
    assert backend.max_batch_size == max(CUDA_BATCHES)
    assert set(CUDA_BATCHES) <= set(sessions[0].seen), "every size was warmed"
    levels = [0, 255, 0, 0, 255]
    await backend.start()
    for size, padded in ((1, 1), (2, 2), (3, 4), (5, 8)):
        scores = await infer(backend, *(backend.prepare(plain(level)) for level in levels[:size]))
        assert [int(one.argmax()) for one in scores] == [level // 255 for level in levels[:size]]
        assert sessions[0].seen[-1] == padded
    await backend.close()


@pytest.mark.parametrize(
    ("asked", "has", "served"),
    [
        ("auto", ["int8", "fp32"], "fp32"),
        ("auto", ["int8"], "int8"),
        ("int8", ["fp32", "int8"], "int8"),
        ("fp16", ["fp32", "fp16"], "fp16"),
    ],
)
async def test_the_precision_is_the_one_asked_for_or_the_best_for_a_cpu(
    store: Path, asked: str, has: list[Any], served: str
) -> None:
    tiny_model(store, precisions=has)
    backend = load_tiny(store, precision=asked)
    assert backend.identity.precision == served
    await backend.close()


async def test_on_cuda_auto_prefers_half_precision(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(sessions_module, "OnnxModel", OnCuda)
    tiny_model(store, precisions=("fp32", "fp16", "int8"))
    backend = load_tiny(store)
    assert backend.identity.precision == "fp16"
    await backend.close()


def test_a_precision_that_a_version_does_not_have_is_that_versions_fault_and_lists_what_it_has(store: Path) -> None:
    tiny_model(store, precisions=("fp32", "int8"))
    with pytest.raises(BrokenModel, match="PARALLAX_PRECISION=fp16, but this version has only fp32, int8"):
        load_tiny(store, precision="fp16")


async def test_batches_run_side_by_side_and_answer_in_order(store: Path) -> None:
    tiny_model(store, labels=("black", "grey", "white"))
    backend = load_tiny(store)
    await backend.start()
    scores = await infer(backend, *(backend.prepare(plain(level)) for level in (255, 0, 128)))
    assert [int(one.argmax()) for one in scores] == [2, 0, 1]
    assert all(one.dtype == np.float32 and one.sum() == pytest.approx(1) for one in scores)
    await backend.close()


def test_pictures_of_any_size_and_format_become_the_models_input(store: Path) -> None:
    tiny_model(store, height=24, width=40)
    backend = load_tiny(store)
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
        pixels = backend.prepare(encoded(kind, 90, 30))
        assert pixels.shape == (24, 40, 3)
        assert pixels.dtype == np.uint8


def test_limits_of_the_settings_hold_where_pictures_are_decoded(store: Path) -> None:
    tiny_model(store)
    with pytest.raises(ImageTooLarge):
        load_tiny(store, max_pixels=64 * 47).prepare(encoded(width=64, height=48))
    load_tiny(store, max_pixels=64 * 48).prepare(encoded(width=64, height=48))


def test_a_description_is_json_and_says_what_it_runs_on(store: Path) -> None:
    tiny_model(store, height=24, width=40)
    described = load_tiny(store).describe()
    assert described["input"] == {"height": 24, "width": 40, "resize": "bilinear"}
    assert described["plan"] == asdict(default_plan(CPU_PROVIDER, 2, 0.0))


async def test_before_it_was_started_it_infers_nothing(store: Path) -> None:
    tiny_model(store)
    backend = load_tiny(store)
    with pytest.raises(BackendFailed, match="not started"):
        await backend.infer([backend.prepare(plain(0))])

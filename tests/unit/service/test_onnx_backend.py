"""Models of the store on ONNX Runtime, and what becomes of a GPU that is not there.

The CUDA paths run here without a GPU: the questions that the backend puts to the machine are answered by the tests.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models.errors import BrokenModel, ImageTooLarge
from models.repository import Repository
from models.runtime import OnnxModel, Provider
from service.backends import onnx as module
from service.backends.factory import candidates
from service.backends.onnx import Device, OnnxBackend, choose_device
from service.errors import ConfigurationError
from service.settings import load_settings
from service.tuning import CUDA_BATCHES, CUDA_PROVIDER, Plan, default_plan
from tests.support.images import encoded, plain
from tests.support.models import tiny_model

CPU_PROVIDER = "CPUExecutionProvider"
GPU_LIBRARY = "libonnxruntime_providers_cuda.so"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    cuda_build: bool = True,
    missing: str = "",
    complaint: str = "undefined symbol: Provider_GetHost",
) -> list[str]:
    """A machine as the backend sees it. `missing`: a library that can't be opened. Returns what was done, in order."""
    done: list[str] = []

    def open_library(path: str, mode: int = 0) -> None:
        name = Path(path).name
        done.append(name)
        if missing and missing in name:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        if name == GPU_LIBRARY:
            raise OSError(f"{path}: {complaint}")

    providers = [CUDA_PROVIDER, CPU_PROVIDER] if cuda_build else [CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: done.append("preload"), raising=False)
    monkeypatch.setattr("service.backends.onnx.ctypes.CDLL", open_library)
    return done


class OnCpu(OnnxModel):
    """A session that was asked for CUDA and came up without it."""

    def __init__(self, path: Path, *, threads: int, providers: Sequence[Provider] = ()) -> None:
        super().__init__(path, threads=threads)


class OnCuda(OnCpu):
    """A session that says it runs on CUDA, and remembers the batches it saw."""

    seen: list[int]

    @property
    def provider(self) -> str:
        return CUDA_PROVIDER

    def run(self, images: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
        self.__dict__.setdefault("seen", []).append(len(images))
        return super().run(images)


def load(store: Path, **options: object) -> OnnxBackend:
    settings = load_settings(models_dir=store, **options)
    return OnnxBackend.load(Repository(store).get("tiny"), settings, choose_device(settings, cpus=2))


@pytest.mark.parametrize(
    ("situation", "named"),
    [
        ({"cuda_build": False}, "onnxruntime was built without CUDA"),
        ({"missing": "libcuda.so.1"}, "libcuda.so.1"),
        ({"complaint": "libcudnn.so.9: cannot open shared object file"}, "libcudnn.so.9"),
        ({"complaint": "libcublasLt.so.12: cannot open shared object file"}, "libcublasLt.so.12"),
    ],
    ids=["cpu build", "no driver", "no cuDNN", "no cuBLAS"],
)
def test_asked_for_cuda_a_machine_without_it_refuses_at_once_and_names_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, store: Path, situation: dict[str, Any], named: str
) -> None:
    """Even with an empty store: nobody should find out on the day of the first model."""
    machine(monkeypatch, **situation)
    settings = load_settings(device="cuda", fake={"labels": ["a", "b"]})
    with pytest.raises(ConfigurationError, match="PARALLAX_DEVICE=cuda") as refused:
        candidates(Repository(store), settings, 1)
    assert named in str(refused.value)
    assert "make serve DEVICE=cuda" in str(refused.value)


def test_this_very_machine_refuses_or_has_a_gpu() -> None:
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed: `make gpu-check` looks at what it does")
    with pytest.raises(ConfigurationError, match="built without CUDA"):
        choose_device(load_settings(device="cuda"), 1)


def test_auto_falls_back_to_the_cpu_and_says_why(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    machine(monkeypatch, missing="libcuda.so.1")
    tiny_model(store)
    backend = load(store)
    assert backend.identity.provider == CPU_PROVIDER
    assert "libcuda.so.1" in backend.describe()["note"]


def test_auto_on_a_machine_that_never_had_a_gpu_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda_build=False)
    monkeypatch.setattr(module, "_could_have_cuda", lambda: False)
    device = choose_device(load_settings(), cpus=3)
    assert (device.provider, device.cpus, device.note) == (CPU_PROVIDER, 3, "")


def test_cpu_asks_the_machine_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    done = machine(monkeypatch)
    assert choose_device(load_settings(device="cpu"), 1) == Device(CPU_PROVIDER, (CPU_PROVIDER,), 1)
    assert done == []


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_with_a_gpu_cuda_is_used_and_its_libraries_are_found_before_the_first_session(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    done = machine(monkeypatch)
    device = choose_device(load_settings(device=asked), 1)
    assert device.provider == CUDA_PROVIDER
    assert device.note == ""
    assert done.index("preload") < done.index(GPU_LIBRARY)


def test_cuda_gets_options_that_keep_its_memory_still_and_the_limit_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    common = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    limited = choose_device(load_settings(device="cuda", gpu_mem_limit_bytes=123), 1)
    assert limited.providers == ((CUDA_PROVIDER, common | {"gpu_mem_limit": 123}), CPU_PROVIDER)
    assert choose_device(load_settings(device="cuda"), 1).providers == ((CUDA_PROVIDER, common), CPU_PROVIDER)


def test_a_session_that_comes_up_without_cuda_ends_the_start_if_cuda_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(module, "OnnxModel", OnCpu)
    tiny_model(store)
    with pytest.raises(ConfigurationError, match=f"fell back to {CPU_PROVIDER}"):
        load(store, device="cuda")


def test_a_session_that_comes_up_without_cuda_is_told_of_under_auto(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(module, "OnnxModel", OnCpu)
    tiny_model(store)
    backend = load(store)
    assert backend.identity.provider == CPU_PROVIDER
    assert "fell back" in backend.describe()["note"]
    assert (backend.max_batch_size, backend.max_in_flight) == (1, 2), "and it is planned as a CPU's"


async def test_on_cuda_batches_are_padded_to_few_sizes_that_were_all_seen_before(
    monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    machine(monkeypatch)
    sessions: list[OnCuda] = []

    def session(*args: Any, **options: Any) -> OnCuda:  # noqa: ANN401
        sessions.append(OnCuda(*args, **options))
        return sessions[-1]

    monkeypatch.setattr(module, "OnnxModel", session)
    tiny_model(store, labels=("dark", "bright"))
    backend = load(store, device="cuda")
    assert backend.max_batch_size == max(CUDA_BATCHES)
    assert set(CUDA_BATCHES) <= set(sessions[0].seen), "every size was warmed"
    levels = [0, 255, 0, 0, 255]
    for size, padded in ((1, 1), (2, 2), (3, 4), (5, 8)):
        scores = await backend.infer([backend.prepare(plain(level)) for level in levels[:size]])
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
    backend = load(store, precision=asked)
    assert backend.identity.precision == served
    await backend.close()


async def test_on_cuda_auto_prefers_half_precision(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    machine(monkeypatch)
    monkeypatch.setattr(module, "OnnxModel", OnCuda)
    tiny_model(store, precisions=("fp32", "fp16", "int8"))
    backend = load(store)
    assert backend.identity.precision == "fp16"
    await backend.close()


def test_a_precision_that_a_version_does_not_have_is_that_versions_fault_and_lists_what_it_has(store: Path) -> None:
    tiny_model(store, precisions=("fp32", "int8"))
    with pytest.raises(BrokenModel, match="PARALLAX_PRECISION=fp16, but this version has only fp32, int8"):
        load(store, precision="fp16")


async def test_batches_run_side_by_side_and_answer_in_order(store: Path) -> None:
    tiny_model(store, labels=("black", "grey", "white"))
    backend = load(store)
    scores = await backend.infer([backend.prepare(plain(level)) for level in (255, 0, 128)])
    assert [int(one.argmax()) for one in scores] == [2, 0, 1]
    assert all(one.dtype == np.float32 and one.sum() == pytest.approx(1) for one in scores)
    await backend.close()


def test_pictures_of_any_size_and_format_become_the_models_input(store: Path) -> None:
    tiny_model(store, height=24, width=40)
    backend = load(store)
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
        pixels = backend.prepare(encoded(kind, 90, 30))
        assert pixels.shape == (24, 40, 3)
        assert pixels.dtype == np.uint8


def test_limits_of_the_settings_hold_where_pictures_are_decoded(store: Path) -> None:
    tiny_model(store)
    with pytest.raises(ImageTooLarge):
        load(store, max_pixels=64 * 47).prepare(encoded(width=64, height=48))
    load(store, max_pixels=64 * 48).prepare(encoded(width=64, height=48))


def test_a_description_is_json_and_says_what_it_runs_on(store: Path) -> None:
    tiny_model(store, height=24, width=40)
    described = load(store).describe()
    assert described["input"] == {"height": 24, "width": 40, "resize": "bilinear"}
    assert described["plan"] == {"batch_size": 1, "lanes": 2, "threads": 1}


@pytest.mark.parametrize("cpus", [1, 2, 16])
def test_a_cpu_gets_a_lane_a_core_and_a_gpu_big_batches(cpus: int) -> None:
    assert default_plan(CPU_PROVIDER, cpus) == Plan(batch_size=1, lanes=cpus, threads=1)
    assert default_plan(CUDA_PROVIDER, cpus).batch_size == max(CUDA_BATCHES)

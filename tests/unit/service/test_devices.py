"""Where models run, and what becomes of a GPU that is not there."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from models.repository import Repository
from service.backends import devices
from service.backends.devices import Device, choose_device
from service.backends.factory import finder
from service.errors import ConfigurationError
from service.plans import PlanBook
from service.settings import load_settings
from service.tuning import CUDA_PROVIDER
from tests.unit.service.machines import CPU_PROVIDER, GPU_LIBRARY, machine


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
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, situation: dict[str, Any], named: str
) -> None:
    """Even with an empty store: nobody should find out on the day of the first model."""
    machine(monkeypatch, **situation)
    settings = load_settings(device="cuda", fake={"labels": ["a", "b"]})
    with pytest.raises(ConfigurationError, match="PARALLAX_DEVICE=cuda") as refused:
        finder(Repository(tmp_path), settings, 1, PlanBook(tmp_path, 1))
    assert named in str(refused.value)
    assert "make serve DEVICE=cuda" in str(refused.value)


def test_this_very_machine_refuses_or_has_a_gpu() -> None:
    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed: `make gpu-check` looks at what it does")
    with pytest.raises(ConfigurationError, match="built without CUDA"):
        choose_device(load_settings(device="cuda"), 1)


def test_auto_on_a_machine_that_never_had_a_gpu_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda_build=False)
    monkeypatch.setattr(devices, "_could_have_cuda", lambda: False)
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

"""Where models of the store run: on an NVIDIA GPU, or on the CPU and why."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime

from models.runtime import CPU, Provider
from service.errors import ConfigurationError
from service.lanes import Crowd
from service.settings import Settings
from service.tuning import CUDA_PROVIDER


@dataclass(frozen=True)
class Device:
    """The provider that is expected, what onnxruntime is asked for, and why."""

    provider: str
    providers: Sequence[Provider]
    cpus: int
    note: str = ""
    """What `auto` found missing, for `/v1/backends`."""
    crowd: Crowd = field(default_factory=Crowd, compare=False)
    """All who run on it."""


def choose_device(settings: Settings, cpus: int) -> Device:
    """What `PARALLAX_DEVICE` comes to here, said before any model is loaded. Raises `ConfigurationError`."""
    on_cpu = "" if settings.device == "cpu" else _why_no_cuda()
    if settings.device == "cpu" or on_cpu:
        if settings.device == "cuda":
            raise ConfigurationError(cuda_missing(on_cpu))
        return Device("CPUExecutionProvider", CPU, cpus, f"on the CPU: {on_cpu}" if on_cpu and _could_have_cuda() else "")
    return Device(CUDA_PROVIDER, _cuda_providers(settings), cpus)


def _why_no_cuda() -> str:
    """Empty if a CUDA session should work, else the first thing that is missing."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without CUDA; onnxruntime-gpu takes its place"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "libcuda.so.1 is missing: there is no NVIDIA driver here"
    onnxruntime.preload_dlls()  # finds CUDA and cuDNN in the nvidia-* wheels, before the first session
    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(library), mode=ctypes.RTLD_LOCAL)
    except OSError as exc:
        text = str(exc)
        # Outside onnxruntime this library lacks one symbol of its host; every other complaint names a missing file.
        return "" if "undefined symbol: Provider_GetHost" in text else text
    return ""


def _could_have_cuda() -> bool:
    """Whether falling back is worth a word: there is a card, or an onnxruntime made for one."""
    return CUDA_PROVIDER in onnxruntime.get_available_providers() or Path("/proc/driver/nvidia/version").exists()


def cuda_missing(reason: str) -> str:
    """What who asked for CUDA is told."""
    return (
        f"PARALLAX_DEVICE=cuda can't be had: {reason}. `make serve DEVICE=cuda` makes an environment with onnxruntime-gpu, "
        "CUDA and cuDNN (requirements/serve-gpu.txt); the NVIDIA driver is the machine's own. "
        "PARALLAX_DEVICE=auto falls back to the CPU."
    )


def _cuda_providers(settings: Settings) -> Sequence[Provider]:
    options: dict[str, Any] = {
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles the arena whenever a batch size is new
        "cudnn_conv_algo_search": "HEURISTIC",  # the exhaustive search takes seconds for every new shape
    }
    if settings.gpu_mem_limit_bytes:
        options["gpu_mem_limit"] = settings.gpu_mem_limit_bytes
    return ((CUDA_PROVIDER, options), *CPU)

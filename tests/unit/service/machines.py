"""Machines with and without a GPU, as the service sees them: its questions are answered by the tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models.runtime import OnnxModel, Provider
from service.tuning import CUDA_PROVIDER

CPU_PROVIDER = "CPUExecutionProvider"
GPU_LIBRARY = "libonnxruntime_providers_cuda.so"


def machine(
    monkeypatch: pytest.MonkeyPatch,
    *,
    cuda_build: bool = True,
    missing: str = "",
    complaint: str = "undefined symbol: Provider_GetHost",
) -> list[str]:
    """A machine as the backend sees it. `missing`: a library that can't be opened. Returns what was done, in order."""
    done: list[str] = []

    def open_library(path: str | None, mode: int = 0) -> None:
        if path is None:  # the program itself, whose malloc is asked for
            return
        name = Path(path).name
        done.append(name)
        if missing and missing in name:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        if name == GPU_LIBRARY:
            raise OSError(f"{path}: {complaint}")

    providers = [CUDA_PROVIDER, CPU_PROVIDER] if cuda_build else [CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: done.append("preload"), raising=False)
    monkeypatch.setattr("service.backends.devices.ctypes.CDLL", open_library)
    return done


class OnCpu(OnnxModel):
    """A session that was asked for CUDA and came up without it."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        providers: Sequence[Provider] = (),
        spin: bool = False,
        one_by_one: bool = False,
    ) -> None:
        super().__init__(path, threads=threads, spin=spin, one_by_one=one_by_one)


class OnCuda(OnCpu):
    """A session that says it runs on CUDA, and remembers the batches it saw."""

    seen: list[int]

    @property
    def provider(self) -> str:
        return CUDA_PROVIDER

    def run(self, images: "np.ndarray[Any, np.dtype[np.uint8]]") -> "np.ndarray[Any, np.dtype[np.float32]]":
        self.__dict__.setdefault("seen", []).append(len(images))
        return super().run(images)

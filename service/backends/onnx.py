"""A model of the store on ONNX Runtime, on the CPU or on an NVIDIA GPU."""

import asyncio
import ctypes
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from models import golden, imaging
from models.errors import BrokenModel
from models.metadata import Precision, Variant
from models.repository import StoredModel
from models.runtime import CPU, OnnxModel, Provider
from service.domain import Identity, Scores
from service.errors import ConfigurationError
from service.settings import Settings
from service.tuning import CUDA_BATCHES, CUDA_PROVIDER, Plan, default_plan

PREFERENCES: Mapping[str, Sequence[Precision]] = {"cpu": ("fp32", "int8", "fp16"), "cuda": ("fp16", "fp32", "int8")}


@dataclass(frozen=True)
class Device:
    """Where the models of the store run: the provider that is expected, what onnxruntime is asked for, and why."""

    provider: str
    providers: Sequence[Provider]
    cpus: int
    note: str = ""
    """What `auto` found missing, for `/v1/backends`."""


class OnnxBackend:
    """Lanes of threads over one session: with one thread a lane, a session serves them all and its memory is held once."""

    remote = False

    def __init__(
        self, stored: StoredModel, variant: Variant, model: OnnxModel, plan: Plan, limits: imaging.Limits, note: str
    ) -> None:
        """Use `load`, which checks everything first."""
        card = stored.card
        self.identity = Identity(card.name, "onnx", card.version, variant.precision, model.provider, tuple(card.labels))
        self.max_batch_size = plan.batch_size
        self.max_in_flight = plan.lanes
        self._card = card
        self._model = model
        self._plan = plan
        self._limits = limits
        self._note = note
        self._lanes = ThreadPoolExecutor(plan.lanes, thread_name_prefix=f"{card.name}-lane")

    @classmethod
    def load(cls, stored: StoredModel, settings: Settings, device: Device) -> "OnnxBackend":
        """Verify digests, open a session, warm it and check the golden vectors. Blocks: call it on a thread.

        Raises `ModelError` if this version can't be served, `ConfigurationError` if the asked-for device fails it.
        """
        variant = _choose_variant(stored, settings, "cuda" if device.provider == CUDA_PROVIDER else "cpu")
        stored.verify([variant, stored.card.golden])  # what is served: the Keras original may be left at home
        path = stored.folder / variant.file
        plan = default_plan(device.provider, device.cpus)
        model = OnnxModel(path, threads=plan.threads, providers=device.providers)
        note = device.note
        if model.provider != device.provider:
            note = _cuda_missing(f"the session for {path.name} fell back to {model.provider}")
            if settings.device == "cuda":
                raise ConfigurationError(note)
            plan = default_plan(model.provider, device.cpus)
        if model.classes not in (None, len(stored.card.labels)):
            raise BrokenModel(f"{path.name} gives {model.classes} scores for {len(stored.card.labels)} labels")
        golden.check(stored.folder / stored.card.golden.file, stored.card.input, variant.precision, model.run, model.provider)
        backend = cls(stored, variant, model, plan, imaging.Limits(settings.max_body_bytes, settings.max_pixels), note)
        backend._warm()
        return backend

    def prepare(self, data: bytes) -> imaging.Pixels:
        """Decode and resize to the model's input."""
        return imaging.load(data, self._card.input, self._limits)

    async def infer(self, batch: Sequence[imaging.Pixels]) -> Sequence[Scores]:
        """Run one batch on a lane's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._lanes, self._run, batch)

    def describe(self) -> Mapping[str, Any]:
        """Input, plan, training accuracy, and what the device choice came to."""
        facts = self._card.training
        return {
            "input": self._card.input.model_dump(),
            "plan": {"batch_size": self._plan.batch_size, "lanes": self._plan.lanes, "threads": self._plan.threads},
            "test_accuracy": next((v.test_accuracy for v in self._card.variants if v.precision == self.identity.precision), None),
            "validation_accuracy": facts.validation.value if facts else None,
            "note": self._note,
        }

    async def close(self) -> None:
        """End the lanes' threads, without waiting for one that hangs."""
        self._lanes.shutdown(wait=False, cancel_futures=True)

    def _run(self, batch: Sequence[imaging.Pixels]) -> Sequence[Scores]:
        images = batch[0][None] if len(batch) == 1 else np.stack(batch)
        if self.identity.provider != CUDA_PROVIDER:
            return list(self._model.run(images))
        padded = next(size for size in CUDA_BATCHES if size >= len(batch))
        padding = np.zeros((padded - len(batch), *images.shape[1:]), np.uint8)
        return list(self._model.run(np.concatenate([images, padding])))[: len(batch)]

    def _warm(self) -> None:
        """Let every batch size be seen once, so that no request pays for kernels and arenas."""
        sizes = CUDA_BATCHES if self.identity.provider == CUDA_PROVIDER else (1,)
        for size in sizes:
            self._model.run(np.zeros((size, self._card.input.height, self._card.input.width, 3), np.uint8))


def choose_device(settings: Settings, cpus: int) -> Device:
    """What `PARALLAX_DEVICE` comes to here, said before any model is loaded. Raises `ConfigurationError`."""
    on_cpu = "" if settings.device == "cpu" else _why_no_cuda()
    if settings.device == "cpu" or on_cpu:
        if settings.device == "cuda":
            raise ConfigurationError(_cuda_missing(on_cpu))
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


def _cuda_missing(reason: str) -> str:
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


def _choose_variant(stored: StoredModel, settings: Settings, device: str) -> Variant:
    if settings.precision != "auto":
        asked = stored.card.variant(settings.precision)
        if asked is None:
            has = ", ".join(variant.precision for variant in stored.card.variants)
            raise BrokenModel(f"PARALLAX_PRECISION={settings.precision}, but this version has only {has}")
        return asked
    return next(found for precision in PREFERENCES[device] if (found := stored.card.variant(precision)))

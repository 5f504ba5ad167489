"""Runs ONNX files: those that keep the contract of `metadata` (uint8 RGB in, softmax scores out), and parts of networks."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from models.errors import BrokenModel
from models.metadata import INPUT_NAME, OUTPUT_NAME
from models.one_by_one import write_in_single_images

Provider: TypeAlias = str | tuple[str, dict[str, Any]]

CPU: tuple[Provider, ...] = ("CPUExecutionProvider",)


def runtime_of(provider: str) -> list[str]:
    """What a model's speed depends on beside its file and the processor: the provider and the runtime's version."""
    return [provider, f"onnxruntime {onnxruntime.__version__}"]


class OnnxGraph:
    """An inference session of any ONNX file with one input and one output. `run` may be called from several threads at once."""

    def __init__(self, path: Path, *, threads: int, providers: Sequence[Provider] = CPU, spin: bool = False) -> None:
        """Load a file on the first of `providers` that works. Raises `BrokenModel` if the file can't be loaded.

        `threads` are used by each call; with one, a call runs on the thread that makes it and many may run side by side.
        `spin`: whether threads that wait for one another within a call burn processor time, which spares waking them. Between
        calls they sleep in any case.
        """
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # always stated: onnxruntime would count the host's processors
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that wait for work must not burn a container's share, unless who asks has it to himself.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
        except Exception as exc:  # onnxruntime raises a dozen types of its own, rooted in RuntimeError or Exception
            raise BrokenModel(f"{path.name} can't be loaded: {exc}") from exc

    def run(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The output, as float32, for an input [N, ...] of the graph's own type."""
        (output,) = self._session.run(None, {self._session.get_inputs()[0].name: images})
        return np.asarray(output, np.float32)


class OnnxModel(OnnxGraph):
    """A session of a file that keeps the contract: RGB images uint8 [N, height, width, 3] -> scores float32 [N, classes]."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        providers: Sequence[Provider] = CPU,
        spin: bool = False,
        one_by_one: bool = False,
    ) -> None:
        """Load a file, as `OnnxGraph`. Raises `BrokenModel` if it is no model of ours.

        `one_by_one`: infer the images of a batch one after the other, as far as the file allows it (`models.one_by_one`).
        """
        self.one_by_one = False
        """Whether it does."""
        if one_by_one:
            # A file, for the runtime's Python class keeps a copy of bytes. Where none can be written, the model runs as it is.
            with suppress(BrokenModel, OSError), TemporaryDirectory(prefix="parallax-") as folder:
                wrapped = Path(folder) / path.name
                if write_in_single_images(path, wrapped):
                    super().__init__(wrapped, threads=threads, providers=providers, spin=spin)
                    self.one_by_one = True
        if not self.one_by_one:
            super().__init__(path, threads=threads, providers=providers, spin=spin)
        self._check_contract(path)

    @property
    def provider(self) -> str:
        """The execution provider in use, such as `CPUExecutionProvider`."""
        return str(self._session.get_providers()[0])

    @property
    def runtime(self) -> list[str]:
        """`runtime_of` its provider."""
        return runtime_of(self.provider)

    @property
    def classes(self) -> int | None:
        """Number of scores per image, if the file states it."""
        size = self._session.get_outputs()[0].shape[-1]
        return size if isinstance(size, int) else None

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Scores float32 [N, classes] of RGB images uint8 [N, height, width, 3]."""
        (scores,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: images})
        return np.asarray(scores, np.float32)

    def _check_contract(self, path: Path) -> None:
        inputs = [(value.name, value.type) for value in self._session.get_inputs()]
        outputs = [(value.name, value.type) for value in self._session.get_outputs()]
        if inputs != [(INPUT_NAME, "tensor(uint8)")] or outputs != [(OUTPUT_NAME, "tensor(float)")]:
            raise BrokenModel(
                f"{path.name} must map uint8 {INPUT_NAME!r} to float32 {OUTPUT_NAME!r}; it has {inputs} -> {outputs}"
            )

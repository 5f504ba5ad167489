"""The plan of a backend on this machine: images in a batch, batches side by side, threads for each."""

from dataclasses import dataclass

CUDA_PROVIDER = "CUDAExecutionProvider"
CUDA_BATCHES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that a CUDA session sees: others are padded to the next, so that its arena and its kernels settle."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`lanes` batches of up to `batch_size` images run side by side, each on `threads` threads."""

    batch_size: int
    lanes: int
    threads: int


def default_plan(provider: str, cpus: int) -> Plan:
    """What a backend starts on.

    On a CPU one image a lane and a lane a core beats one big batch on all cores: no thread waits for another. A GPU wants
    big batches, and a second lane so that copying overlaps computing.
    """
    if provider == CUDA_PROVIDER:
        return Plan(batch_size=CUDA_BATCHES[-1], lanes=2, threads=1)
    return Plan(batch_size=1, lanes=cpus, threads=1)

"""Threads that turn bytes into pixels, where a lane does not do that itself."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from models import imaging
from service.niceness import BIG_IMAGES, step_back

Out = TypeVar("Out")

BIG_PIXELS = 2_000_000
"""An image above this takes tens of milliseconds and up to 75 MB: two such decodes at once help nobody on a small machine."""


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Out]):
    """A prepared image, with the seconds that its decoding took."""

    value: Out
    took: float


class Decoder:
    """Runs `Backend.prepare`: small images side by side, big ones one at a time, on a thread that stands back."""

    def __init__(self, threads: int, limits: imaging.Limits) -> None:
        """`threads` for small images; big ones have one of their own."""
        self._limits = limits
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._big = ThreadPoolExecutor(1, thread_name_prefix="decode-big", initializer=step_back, initargs=(BIG_IMAGES,))

    async def run(self, prepare: Callable[[bytes], Out], data: bytes) -> Decoded[Out]:
        """Prepare one image. Raises `ImageError`; what its header gives away costs no thread."""
        pool: Executor = self._big if imaging.check(data, self._limits).pixels > BIG_PIXELS else self._small
        return await asyncio.get_running_loop().run_in_executor(pool, _timed, prepare, data)

    def close(self) -> None:
        """End the threads once their work is done."""
        self._small.shutdown()
        self._big.shutdown()


def _timed(prepare: Callable[[bytes], Out], data: bytes) -> Decoded[Out]:
    started = time.perf_counter()
    value = prepare(data)
    return Decoded(value, time.perf_counter() - started)

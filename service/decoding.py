"""Threads that turn bytes into pixels: small images side by side, big ones one at a time and out of their way."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from models import imaging

Out = TypeVar("Out")

BIG_PIXELS = 2_000_000
"""An image above this takes tens of milliseconds and up to 75 MB: two such decodes at once help nobody on a small machine."""


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Out]):
    """A prepared image, with the seconds that it waited for a thread and that its decoding took."""

    value: Out
    waited: float
    took: float


class Decoder:
    """Runs `Backend.prepare` off the event loop."""

    def __init__(self, threads: int, limits: imaging.Limits) -> None:
        """`threads` for small images; big ones have one of their own."""
        self._limits = limits
        self._small = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._big = ThreadPoolExecutor(1, thread_name_prefix="decode-big")

    async def run(self, prepare: Callable[[bytes], Out], data: bytes) -> Decoded[Out]:
        """Prepare one image. Raises `ImageError`; what its header gives away costs no thread."""
        _, pixels = imaging.check(data, self._limits)
        pool: Executor = self._big if pixels > BIG_PIXELS else self._small
        return await asyncio.get_running_loop().run_in_executor(pool, _timed, prepare, data, time.perf_counter())

    def close(self) -> None:
        """End the threads once their work is done."""
        self._small.shutdown()
        self._big.shutdown()


def _timed(prepare: Callable[[bytes], Out], data: bytes, asked: float) -> Decoded[Out]:
    started = time.perf_counter()
    value = prepare(data)
    return Decoded(value, started - asked, time.perf_counter() - started)

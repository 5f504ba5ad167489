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

SMALL_PIXELS, SMALL_BYTES = 65_536, 65_536
"""Up to here decoding takes a third of a millisecond, and going to a thread and back takes as long: it happens at once. Bytes
count too, since a small JPEG can be made of a great many scans.
"""


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Out]):
    """A prepared image, with the seconds that its decoding took, and when that ended, by `time.perf_counter`."""

    value: Out
    took: float
    at: float


class Decoder:
    """Runs `Backend.prepare`: on threads side by side; big images one at a time, on one that stands back; the smallest here."""

    def __init__(self, threads: int, limits: imaging.Limits) -> None:
        """`threads` for images of middling size; big ones have one of their own."""
        self._limits = limits
        self._middling = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._big = ThreadPoolExecutor(1, thread_name_prefix="decode-big", initializer=step_back, initargs=(BIG_IMAGES,))

    async def run(self, prepare: Callable[[bytes], Out], data: bytes) -> Decoded[Out]:
        """Prepare one image. Raises `ImageError`; what its header gives away costs no thread."""
        pixels = imaging.check(data, self._limits).pixels
        if pixels <= SMALL_PIXELS and len(data) <= SMALL_BYTES:
            return _timed(prepare, data)
        pool: Executor = self._big if pixels > BIG_PIXELS else self._middling
        return await asyncio.get_running_loop().run_in_executor(pool, _timed, prepare, data)

    def close(self) -> None:
        """End the threads once their work is done."""
        self._middling.shutdown()
        self._big.shutdown()


def _timed(prepare: Callable[[bytes], Out], data: bytes) -> Decoded[Out]:
    started = time.perf_counter()
    value = prepare(data)
    ended = time.perf_counter()
    return Decoded(value, ended - started, ended)

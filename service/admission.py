"""Permits that are taken before any work, so that overload costs next to nothing: for a place in a queue, for bytes of a body."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import QueueFull, UploadsFull


class Admission:
    """A bound on the requests that one backend holds, waiting or running."""

    def __init__(self, max_queue: int, seconds_per_item: Callable[[], float]) -> None:
        """`seconds_per_item` tells how fast the queue moves, for an honest Retry-After."""
        self.max_queue = max_queue
        self._held = 0
        self._seconds_per_item = seconds_per_item

    @property
    def held(self) -> int:
        """Requests inside now."""
        return self._held

    @contextmanager
    def permit(self) -> Iterator[None]:
        """Hold a place for the length of the block. Raises `QueueFull` at once if there is none."""
        if self._held >= self.max_queue:
            seconds = max(1, min(60, math.ceil(self._held * self._seconds_per_item())))
            raise QueueFull(f"All {self.max_queue} places of this backend's queue are taken. Try again in {seconds} s.", seconds)
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1


class ByteBudget:
    """A bound on the bytes of request bodies held in memory by all requests together."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes reserved now."""
        return self._held

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Hold `size` bytes for the length of the block. Raises `UploadsFull` at once if they are not free."""
        if self._held + size > self.max_bytes:
            raise UploadsFull("Too many uploads are under way. Try again in 1 s.", 1)
        self._held += size
        try:
            yield
        finally:
            self._held -= size

"""Permits that are taken before any work, so that overload costs next to nothing: for a place in a queue, for bytes of a body."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import QueueFull, UploadsFull

ALPHA = 8
"""A caller may hold at most this many times the places that are still free (Choudhury and Hahne, Dynamic Queue Length
Thresholds for Shared-Memory Packet Switches, 1998). One caller alone gets 8 of 9 places, and a ninth stays for newcomers."""


class Admission:
    """A bound on the requests that one backend holds, waiting or running, and on each caller's part of them."""

    def __init__(self, max_queue: int, seconds_per_item: Callable[[], float]) -> None:
        """`seconds_per_item` tells how fast the queue moves, for an honest Retry-After."""
        self.max_queue = max_queue
        self._callers: dict[str, int] = {}
        self._held = 0
        self._seconds_per_item = seconds_per_item
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def held(self) -> int:
        """Requests inside now."""
        return self._held

    def check(self, caller: str = "", deadline: float | None = None, places: int = 1) -> None:
        """Raise `QueueFull` if `permit` would: before the body is read, so that a refusal costs as little as it can."""
        before = places - 1
        free = self.max_queue - self._held - before
        own = self._callers.get(caller, 0) + before
        if own >= ALPHA * free:
            some = f"{own} places of this backend's queue are yours, as many as one caller may have."
            raise self._full(some if free else f"All {self.max_queue} places of this backend's queue are taken.")
        if deadline is not None and self._held > 1:
            ahead = min(self._held, (own + 1) * len(self._callers))  # callers take turns
            wait = ahead * self._seconds_per_item()
            if wait > deadline - asyncio.get_running_loop().time():
                raise self._full(f"There is {wait:.1f} s of work before this image: its deadline would pass first.")

    def permit(self, caller: str = "", deadline: float | None = None, places: int = 1) -> "Permit":
        """Hold a place, or so many, for the length of a `with` block.

        `deadline`: loop time. Raises `QueueFull` at once if no place is left, if the caller has too many of them, or if the
        deadline will pass before it is this one's turn.
        """
        self.check(caller, deadline, places)
        self._held += places
        self._callers[caller] = self._callers.get(caller, 0) + places
        self._empty.clear()
        return Permit(self, caller, places)

    def give_back(self, caller: str, places: int) -> None:
        """What a permit does at its end."""
        self._held -= places
        self._callers[caller] -= places
        if not self._callers[caller]:
            del self._callers[caller]
        if not self._held:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until nobody is inside."""
        await self._empty.wait()

    def _full(self, reason: str) -> QueueFull:
        seconds = max(1, min(60, math.ceil(self._held * self._seconds_per_item())))
        return QueueFull(f"{reason} Try again in {seconds} s.", seconds)


class Permit:
    """Places in a queue, until the end of its block. Made anew for every image: a class costs less than a generator."""

    __slots__ = ("_admission", "_caller", "_places")

    def __init__(self, admission: Admission, caller: str, places: int) -> None:
        self._admission = admission
        self._caller = caller
        self._places = places

    def __enter__(self) -> None:
        return

    def __exit__(self, *_exc: object) -> None:
        self._admission.give_back(self._caller, self._places)


class ByteBudget:
    """A bound on the bytes of request bodies held in memory by all requests together."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes reserved now."""
        return self._held

    def reserve(self, size: int) -> None:
        """Take `size` bytes, to be given back by `release`. Raises `UploadsFull` at once if they are not free."""
        if self._held + size > self.max_bytes:
            raise UploadsFull("Too many uploads are under way. Try again in 1 s.", 1)
        self._held += size

    def release(self, size: int) -> None:
        """Give them back."""
        self._held -= size

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Have `size` bytes for the length of a block. Raises `UploadsFull`."""
        self.reserve(size)
        try:
            yield
        finally:
            self.release(size)

"""Hands out requests when they fall due, to callers who are free: an open loop, whatever the server does.

A caller who waits for a slow reply can't send the next request in time. Were the next one simply sent later, its wait would be
measured by nobody (coordinated omission). Here it waits in a line, and counts from when it fell due.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent
from gevent.event import AsyncResult


@dataclass(frozen=True)
class Turn:
    """A request that a caller is to send now."""

    due_s: float
    """In the curve's time."""
    due: float
    """By `time.perf_counter`."""
    waited: bool = False
    """For a caller: nobody was free when it fell due."""

    def counts_from(self, began: float) -> float:
        """From when its latency counts, if it was sent at `began`: from its due time if it had to wait for a caller."""
        return self.due if self.waited else began


class Pacer:
    """The due times of one kind of requests in one process."""

    def __init__(self, dues: Iterator[float], late: Callable[[float, float], None]) -> None:
        """`late(due_s, ms)` is told by how much locust itself was late for each request that nobody was free for."""
        self._dues = dues
        self._late = late
        self._line: deque[Turn] = deque()
        self._free: list[AsyncResult[Turn | None]] = []
        """The last one served last: few connections are kept busy, and the rest of the callers rest."""
        self._over = False

    def run(self, zero: float) -> list[Turn]:
        """Hand out until the due times end; `zero` is the curve's begin. Returns what nobody was free for by then."""
        for due_s in self._dues:
            due = zero + due_s
            if (wait := due - time.perf_counter()) > 0:
                gevent.sleep(wait)
            if self._free:
                self._free.pop().set(Turn(due_s, due))
            else:
                self._late(due_s, 1000 * max(0.0, time.perf_counter() - due))
                self._line.append(Turn(due_s, due, waited=True))
        self._over = True
        while self._free:
            self._free.pop().set(None)
        left = list(self._line)
        self._line.clear()
        return left

    def turn(self) -> Turn | None:
        """Wait for something to send; None if nothing comes any more."""
        if self._line:
            return self._line.popleft()
        if self._over:
            return None
        mine: AsyncResult[Turn | None] = AsyncResult()
        self._free.append(mine)
        try:
            turn: Turn | None = mine.get()
        except BaseException:  # the caller was stopped while it waited: nothing must be handed to it
            if mine in self._free:
                self._free.remove(mine)
            raise
        return turn

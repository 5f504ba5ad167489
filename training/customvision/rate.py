"""Calls of several threads, evenly spaced under a rate, and all of them held back when the service asks for it."""

import threading
import time
from collections.abc import Callable


class Rate:
    """A turn every so often. No bursts: what the service counts is calls in any second."""

    def __init__(
        self, per_second: float, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.per_second = per_second
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._lock = threading.Lock()

    def turn(self) -> None:
        """Wait for a turn of this thread's."""
        while True:
            with self._lock:
                wait = self._next - self._clock()
                if wait <= 0:
                    self._next = max(self._next, self._clock()) + 1 / self.per_second
                    return
            self._sleep(wait)

    def hold(self, seconds: float) -> None:
        """Let nobody have a turn for some seconds."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)

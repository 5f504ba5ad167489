"""Whether anybody is asking for anything."""

import threading
import time


class Activity:
    """When a request last came. Whoever measures is told at once."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._stop: threading.Event | None = None

    @property
    def quiet(self) -> float:
        """Seconds since the last request."""
        return time.perf_counter() - self._last

    def mark(self) -> None:
        """A request is here."""
        self._last = time.perf_counter()
        if self._stop is not None:
            self._stop.set()
            self._stop = None

    def until_next(self) -> threading.Event:
        """An event that the next request sets."""
        self._stop = threading.Event()
        return self._stop

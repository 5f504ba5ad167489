"""Timeouts for thousands of waits with one timer of the event loop: for those that last equally long, and for any."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable


class Alarms:
    """Calls back after a fixed time unless told otherwise before. Setting one and taking it back is a dictionary's work."""

    def __init__(self, seconds: float) -> None:
        """All alarms are due so long after they were set: so the first that was set is the first that is due."""
        self._seconds = seconds
        self._set: OrderedDict[Callable[[], object], float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, callback: Callable[[], object]) -> None:
        """Call back when the time is over. Each callback is an object of its own, and `cancel` takes the same one."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        self._set[callback] = due
        if self._timer is None:
            self._timer = loop.call_at(due, self._ring)

    def cancel(self, callback: Callable[[], object]) -> None:
        """Do not call back. Nothing happens if that was done already."""
        self._set.pop(callback, None)

    def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        while self._set:
            callback, due = next(iter(self._set.items()))
            if due > now:
                self._timer = loop.call_at(due, self._ring)
                return
            del self._set[callback]
            callback()


class Earliest:
    """Calls back at the earliest of many times. Most are far away, come in order, and are over before they are reached."""

    def __init__(self, callback: Callable[[], float | None]) -> None:
        """`callback` tells the next time (loop time), None if there is none."""
        self._callback = callback
        self._next = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def at(self, when: float) -> None:
        """Call back then, if not before."""
        if when >= self._next:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._next = when
        self._timer = asyncio.get_running_loop().call_at(when, self._ring)

    def stop(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._next, self._timer = -math.inf, None

    def _ring(self) -> None:
        self._next, self._timer = math.inf, None
        when = self._callback()
        if when is not None:
            self.at(when)

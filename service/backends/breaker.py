"""Leaves a remote service alone that fails time and again, so that nobody waits for it in vain and it can recover.

(Nygard, Release It!, "Circuit Breaker".) What only takes no more for now, or refuses a request for a reason, does not fail.
"""

import math
import time
from collections import deque
from collections.abc import Callable

from service.errors import RemoteDown
from service.tally import BreakerState

IN_A_ROW = 5
WINDOW = 20
FIRST_REST_S, MAX_REST_S = 5.0, 60.0


class Breaker:
    """Opens when the last `IN_A_ROW` attempts failed, or more than half of the last `WINDOW`.

    While it is open nothing is sent. After a rest one attempt is let through: if it is answered, all are again, else the next
    rest is twice as long, up to `MAX_REST_S`.
    """

    def __init__(self, who: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`who`: for people. `clock`: seconds."""
        self._who = who
        self._clock = clock
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._rest = FIRST_REST_S
        self._until: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """`half-open`: the next attempt decides, or is under way."""
        if self._until is None:
            return "closed"
        return "half-open" if self._probing or self._clock() >= self._until else "open"

    def check(self) -> None:
        """Raise `RemoteDown` if nothing may be sent."""
        if self._until is None:
            return
        left = self._until - self._clock()
        if self._probing or left > 0:
            seconds = max(1, math.ceil(left))
            raise RemoteDown(f"{self._who} failed time and again, and is left alone for now. Try again in {seconds} s.", seconds)

    def begin(self) -> bool:
        """Begin an attempt. Returns whether it is the probe; `end` wants to know. Raises `RemoteDown`."""
        self.check()
        self._probing = self._until is not None
        return self._probing

    def end(self, probe: bool, ok: bool | None) -> None:  # as `begin` returned it
        """End one. `ok`: whether the service lives; None if that is not known."""
        if probe:
            self._probing = False
            if ok:
                self._until, self._rest = None, FIRST_REST_S
                self._last.clear()
            elif ok is not None:
                self._rest = min(2 * self._rest, MAX_REST_S)
                self._until = self._clock() + self._rest
        elif self._until is None and ok is not None:  # what began before it opened says nothing new
            self._last.append(ok)
            if self._is_bad():
                self._until = self._clock() + self._rest

    def _is_bad(self) -> bool:
        last = list(self._last)
        return (len(last) >= IN_A_ROW and not any(last[-IN_A_ROW:])) or last.count(False) > WINDOW // 2

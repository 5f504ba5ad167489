"""When a refused caller is told so.

Who does not heed Retry-After can send more requests than anybody could serve, and each refusal takes time from those who are
served. So the first refusals of a caller are told at once, and those of one that has many of them wait: meanwhile a connection
is busy and sends nothing more. Proxies for HTTP call this a tarpit (HAProxy's is some seconds long).
"""

import asyncio
import math
from collections import OrderedDict, deque

RATE = 100.0
"""Refusals a second of one caller that are told at once for any length of time."""

BURST = 100
"""How many more are told at once before any waits."""

LONGEST_S = 2.0
"""What a refusal waits at most."""

CALM_S = 0.2
"""After so long without another refusal of that caller nobody waits any more: the overload is over."""

MOST = 1000
"""Refusals that wait, of all callers: each keeps a connection open."""

TICK_S = 0.05
"""They are told together, so that the event loop wakes once for all, and not once for each."""


class Pace:
    """How long one caller's refusals wait: the generic cell rate algorithm (ITU-T I.371). Times in seconds, on any one clock."""

    def __init__(self) -> None:
        self.last = -math.inf
        """When the last refusal was."""
        self._due = -math.inf
        """When the next would be due if they came at `RATE`."""

    def wait(self, now: float) -> float:
        """Note a refusal. Returns the seconds that it is to wait, 0 if none."""
        ahead = BURST / RATE
        due = max(now, min(self._due, now + ahead + LONGEST_S))
        self.last, self._due = now, due + 1 / RATE
        return max(0.0, due - ahead - now)

    def is_over(self, now: float) -> bool:
        """Whether a refusal now would be as if there never was one."""
        return self._due <= now


class Patience:
    """Refusals that wait. Belongs to one event loop."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, tuple[Pace, deque[tuple[float, asyncio.Future[None]]]]] = OrderedDict()
        """Who was refused last stands last. Of each, those who wait, in the order in which they are due."""
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None

    def refused(self, caller: str) -> "asyncio.Future[None] | None":
        """Note a refusal. Returns what to wait for before it is told; None: nothing."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if caller not in self._callers:
            self._callers[caller] = Pace(), deque()
        self._callers.move_to_end(caller)
        pace, waiting = self._callers[caller]
        self._forget(now)
        seconds = pace.wait(now)
        if not seconds or self._waiting >= MOST:
            return None
        turn = loop.create_future()
        waiting.append((now + seconds, turn))
        self._waiting += 1
        if self._timer is None:
            self._timer = loop.call_later(TICK_S, self._tick)
        return turn

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for pace, waiting in self._callers.values():
            calm = now - pace.last >= CALM_S
            while waiting and (calm or waiting[0][0] <= now):
                _, turn = waiting.popleft()
                self._waiting -= 1
                if not turn.done():  # cancelled with its request
                    turn.set_result(None)
        self._timer = loop.call_later(TICK_S, self._tick) if self._waiting else None

    def _forget(self, now: float) -> None:
        """Of the many callers that there may be, keep those who were refused lately."""
        while True:
            caller, (pace, waiting) = next(iter(self._callers.items()))
            if waiting or not pace.is_over(now) or len(self._callers) == 1:
                return
            del self._callers[caller]

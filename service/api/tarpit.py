"""When a refused caller is told so.

Who does not heed Retry-After can send more requests than anybody could serve, and each refusal takes time from those who are
served. So the first refusals of a caller are told at once, and those of one that has many of them wait: meanwhile a connection
is busy and sends nothing more. HAProxy calls this a tarpit. It slows callers down that have some number of connections; against
a crowd without end nothing helps but refusals that cost little.
"""

import asyncio
import heapq
import math
import random
from collections import OrderedDict
from itertools import count

from starlette.requests import ClientDisconnect

from service.api.exchange import Client

RATE = 100.0
"""Refusals a second of one caller that are told at once for any length of time."""

BURST = 100
"""How many more are told at once after a while without any."""

LONGEST_S = 2.0
"""What a refusal waits at most. Those that would wait longer end within the last quarter of it, not all at the same time."""

CALM_S = 0.2
"""After so long without another refusal of that caller those that wait are told, due or not: the overload is over."""

CALM_TURNS = 80
"""So many of a caller's a tick then, lest they all come back together."""

MOST = 2000
"""Refusals that wait, of all callers: each keeps a connection open. One caller may have as many as are still free."""

CROWD = MOST // 8
CROWD_S = 10.0
"""Who has so many refusals that wait, and no place for more, is no caller with some connections but a crowd, which waiting does
not slow down. It is told at once for so long: to let some of them wait took 8 % of a processor more."""

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
        seconds = max(0.0, due - ahead - now)
        return seconds if seconds < LONGEST_S else LONGEST_S * random.uniform(0.75, 1)  # noqa: S311  # no secret

    def is_over(self, now: float) -> bool:
        """Whether a refusal now would be as if there never was one."""
        return self._due <= now


class _Caller:
    def __init__(self) -> None:
        self.pace = Pace()
        self.turns: list[tuple[float, int, asyncio.Future[None]]] = []
        """A heap: when each is due."""
        self.waiting = 0
        """Turns that have not come and were not given up."""
        self.crowd_until = -math.inf


class Tarpit:
    """Refusals that wait. Belongs to one event loop."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _Caller] = OrderedDict()
        """Who was refused last stands last."""
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self.waiting = 0
        """Refusals that nobody was told of yet."""

    async def hold(self, caller: str, client: Client | None) -> None:
        """Note a refusal, and return when it is to be told: when it is due, or when the grace time of a stop is over.

        Raises `ClientDisconnect` if the client hangs up meanwhile, or when that is seen: in the midst of a body it is not read.
        """
        turn = self.refused(caller)
        if turn is None:
            return
        if client is not None:
            client.decline()  # who waits holds no image
            client.tell(turn.cancel)
        try:
            await turn
        except asyncio.CancelledError:
            if client is not None and client.gone:
                raise ClientDisconnect from None
        finally:
            if client is not None:
                client.tell(None)

    def refused(self, caller: str) -> "asyncio.Future[None] | None":
        """Note a refusal. Returns what to wait for before it is told; None: nothing. Who cancels it gives its place up."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        known = self._callers.get(caller)
        if known is None:
            known = self._callers[caller] = _Caller()
        self._callers.move_to_end(caller)
        self._forget(now)
        seconds = known.pace.wait(now)
        if not seconds or now < known.crowd_until:
            return None
        if known.waiting >= MOST - self.waiting:
            if known.waiting >= CROWD:
                known.crowd_until = now + CROWD_S
            return None
        turn = loop.create_future()
        heapq.heappush(known.turns, (now + seconds, next(self._numbers), turn))
        known.waiting += 1
        self.waiting += 1
        turn.add_done_callback(lambda _turn: self._ended(known))
        if self._timer is None:
            self._timer = loop.call_later(TICK_S, self._tick)
        return turn

    def _ended(self, known: _Caller) -> None:
        known.waiting -= 1
        self.waiting -= 1

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        left = False
        for known in self._callers.values():
            turns = known.turns
            early = CALM_TURNS if now - known.pace.last >= CALM_S else 0
            while turns and (turns[0][2].done() or turns[0][0] <= now or early):
                due, _, turn = heapq.heappop(turns)
                if not turn.done():
                    early -= due > now
                    turn.set_result(None)
            left = left or bool(turns)
        self._timer = loop.call_later(TICK_S, self._tick) if left else None

    def _forget(self, now: float) -> None:
        """Of the many callers that there may be, keep those who were refused lately."""
        while len(self._callers) > 1:
            caller, known = next(iter(self._callers.items()))
            if known.turns or now < known.crowd_until or not known.pace.is_over(now):
                return
            del self._callers[caller]

"""One process's way to the quota that it shares with others: whoever wants to send something waits here for a place.

What the database must know is told behind the caller's back, in one transaction for all who came meanwhile; a few places are
held in hand while there is traffic, so that a caller rarely waits for the database.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from service.backends.quota import Grant, Returned, Terms, exchange
from service.database import Database
from service.errors import BudgetSpent, DatabaseFailed, ServiceError
from service.tally import Tally

log = logging.getLogger("parallax.remote")

PERIOD_S = 1.0
"""What a rate is counted in."""
IDLE_S = 1.0
"""A place in hand that nobody wanted for so long is given back."""
LINGER_S = 0.2
"""How long what is given back may wait for company, if nobody needs anything."""
LOOK_S = 0.25
"""How often those who wait look for a place that another process may have given back."""
MAX_SHUT_S = 60.0
"""A place whose request was told to wait stays shut so long at most, so that somebody looks again."""
LAST_S = 2.0
"""For what is given back at the end."""


@dataclass(frozen=True)
class Place:
    """The right to send one request."""

    id: str
    month: str
    good_until: float
    """Loop time after which its lease might not outlast a request."""


class Turnstile:
    """Opened by `open`, ended by `close`. All methods belong to one event loop."""

    def __init__(self, database: Database, terms: Terms, longest_s: float, tally: Tally) -> None:
        """`longest_s`: how long a request may take at most. `terms.lease_s` must be longer by some seconds."""
        self._database = database
        self._terms = terms
        self._hold_s = terms.lease_s - longest_s - PERIOD_S
        self._tally = tally
        self._in_hand = min(32, terms.rate // 10)
        self._hand: deque[Place] = deque()
        self._waiting: deque[asyncio.Future[Place]] = deque()
        self._returned: list[tuple[Place, float | None]] = []
        """With the loop time at which each is free again."""
        self._stir = asyncio.Event()
        """There is something to do."""
        self._hurry = asyncio.Event()
        """And somebody waits for it."""
        self._look_in = LOOK_S
        self._last_wanted = -math.inf
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to let people in."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Give back all that is not used any more. Nobody is inside."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._last_wanted = -math.inf
        with suppress(TimeoutError, DatabaseFailed):
            async with asyncio.timeout(LAST_S):
                await self._exchange()

    async def enter(self) -> Place:
        """Wait for a place. Raises `BudgetSpent` or `DatabaseFailed`."""
        loop = asyncio.get_running_loop()
        began = self._last_wanted = loop.time()
        while self._hand:
            place = self._hand.popleft()
            if place.good_until > began:
                self._tally.month_calls += 1
                return place
            self._returned.append((place, None))
        turn: asyncio.Future[Place] = loop.create_future()
        self._waiting.append(turn)
        self._stir.set()
        self._hurry.set()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.unused(turn.result())
            raise
        finally:
            self._tally.waited_s += loop.time() - began

    def leave(self, place: Place, shut_s: float = 0.0) -> None:
        """Give a place back whose request is over; `shut_s`: how long the service said to wait."""
        self._give_back(place, asyncio.get_running_loop().time() + PERIOD_S + min(shut_s, MAX_SHUT_S))

    def unused(self, place: Place) -> None:
        """Give a place back whose request was never sent: it costs nothing."""
        self._tally.month_calls -= 1
        self._give_back(place, None)

    def _give_back(self, place: Place, free_at: float | None) -> None:
        self._returned.append((place, free_at))
        self._stir.set()
        if self._waiting or len(self._hand) < self._in_hand / 2:
            self._hurry.set()

    async def _run(self) -> None:
        while True:
            if not (self._waiting or self._returned or self._hand):
                await self._stir.wait()
            self._stir.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_in if self._waiting else LINGER_S):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self._exchange()
            except ServiceError as exc:
                self._refuse(exc)
            except Exception:
                log.exception("the quota could not be asked")
                self._refuse(DatabaseFailed("The quota of a remote backend could not be asked. The log has the cause."))

    async def _exchange(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        idle = began - self._last_wanted >= IDLE_S
        if idle and not self._waiting:
            self._returned.extend((place, None) for place in self._hand)
            self._hand.clear()
        returned, self._returned = self._returned, []
        wanted = sum(not turn.done() for turn in self._waiting)
        spare = 0 if idle else max(0, self._in_hand - len(self._hand))
        if not returned and not wanted and not spare:
            return
        told = [Returned(place.id, place.month, free_at and max(0.0, free_at - began)) for place, free_at in returned]
        grant = await self._database.run(partial(exchange, terms=self._terms, returned=told, wanted=wanted, spare=spare))
        self._hand_out([Place(one, grant.month, began + self._hold_s) for one in grant.places], grant)

    def _hand_out(self, places: Sequence[Place], grant: Grant) -> None:
        self._hand.extend(places)
        while self._waiting and self._hand:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(self._hand.popleft())
        self._tally.month_calls = grant.calls - len(self._hand)
        self._look_in = min(LOOK_S, grant.wait_s)
        if grant.spent:
            days = grant.month_left_s / 86_400
            said = f"This month's {self._terms.budget:,} calls are made; the next month begins in {days:.1f} days (UTC)."
            self._refuse(BudgetSpent(said, math.ceil(grant.month_left_s)))

    def _refuse(self, error: ServiceError) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)

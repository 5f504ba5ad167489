"""One rate for all machines: whoever there wants to ask a paid service asks for a permit here first.

An actor holds what one server would hold, the way to the quota in the database, so the rate and the month's budget are kept
together with servers that share the database. It lives on the machine where the run was started, whose database that is.
"""

import asyncio
from typing import Any

from service.backends.factory import quota
from service.backends.turnstile import Place
from service.errors import ServiceError
from service.settings import Settings


class Permits:
    """A Ray actor is made of it. Its methods run on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._quota = quota(settings)
        self._is_open = False

    async def enter(self) -> Place | ServiceError:
        """Wait for a permit. Errors are given back, since Ray would raise them as one of its own."""
        if not self._is_open:
            self._quota.open()
            self._is_open = True
        try:
            return await self._quota.enter()
        except ServiceError as exc:
            return exc

    async def leave(self, place: Place, shut_s: float) -> None:
        """The request is over."""
        self._quota.leave(place, shut_s)

    async def unused(self, place: Place) -> None:
        """It was never sent."""
        self._quota.unused(place)

    async def close(self) -> None:
        """Give back what is held."""
        await self._quota.close()


class PermitDoor:
    """`service.backends.remote.Door`, as a process of the cluster has it."""

    def __init__(self, permits: Any) -> None:  # noqa: ANN401  # the actor's handle
        self._permits = permits

    async def enter(self) -> Place:
        """Wait for a permit. Raises what the quota raises."""
        asked: asyncio.Future[Place | ServiceError] = asyncio.ensure_future(_answer(self._permits.enter.remote()))
        try:
            found = await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._too_late)
            raise
        if isinstance(found, ServiceError):
            raise found
        return found

    def leave(self, ticket: Place, shut_s: float = 0.0) -> None:
        """The request is over."""
        self._permits.leave.remote(ticket, shut_s)

    def unused(self, ticket: Place) -> None:
        """It was never sent."""
        self._permits.unused.remote(ticket)

    def _too_late(self, asked: "asyncio.Future[Place | ServiceError]") -> None:
        """Whoever wanted it has gone."""
        if not asked.cancelled() and asked.exception() is None and isinstance(place := asked.result(), Place):
            self.unused(place)


async def _answer(reference: Any) -> Place | ServiceError:  # noqa: ANN401  # an ObjectRef, which can be awaited
    found: Place | ServiceError = await reference
    return found

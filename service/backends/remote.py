"""What backends that answer from elsewhere share: connections, new attempts within one deadline, a breaker, a door.

A reply is never trusted: its size is bounded, a redirect is not followed (the key would go along), and what it says in other
words than agreed goes to the log, without the key, and not to the caller.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import httpx

from models import __version__
from service.addresses import host_of
from service.backends.breaker import Breaker
from service.backends.pauses import before_attempt
from service.backends.replies import Attempt, Explain, broken, judge
from service.backends.way_out import WayOut, way_out
from service.errors import BackendFailed, RemoteBusy, RemoteDown, RemoteFailed, RemoteTimedOut, Unanswered
from service.tally import Tally
from service.tracing import step

log = logging.getLogger("parallax.remote")

MAX_ATTEMPTS = 4
MAX_REPLY_BYTES = 1_000_000
SAID_CHARACTERS = 300
"""Of a reply that is not as agreed, in the log."""
HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"parallax/{__version__}",
}
BRIEF_S = 0.05
"""Less time than this is not worth another attempt."""

Failed = TypeVar("Failed", bound=Unanswered)
State: TypeAlias = Literal["checking", "ready", "failing"]


class Door(Protocol):
    """Where a request waits until it may be sent."""

    async def enter(self) -> Any:  # noqa: ANN401  # its own kind of ticket
        """Wait, and get a ticket. Raises a `ServiceError` if nothing may be sent."""
        ...

    def leave(self, ticket: Any, shut_s: float = 0.0) -> None:  # noqa: ANN401
        """The request is over. `shut_s`: how long the service asks to be left alone."""
        ...

    def unused(self, ticket: Any) -> None:  # noqa: ANN401
        """It was never sent."""
        ...


class OpenDoor:
    """Nobody waits."""

    async def enter(self) -> None:
        """Go on."""

    def leave(self, ticket: None, shut_s: float = 0.0) -> None:
        """Nothing to note."""

    def unused(self, ticket: None) -> None:
        """Nothing to note."""


class Remote:
    """One address, asked by POST, that answers with JSON."""

    def __init__(
        self,
        name: str,
        address: str,
        headers: Mapping[str, str],
        *,
        secret: str,
        timeout_s: float,
        explain: Explain,
        attempt_s: float | None = None,
        max_attempts: int = MAX_ATTEMPTS,
        breaker: Breaker | None = None,
        door: Door | None = None,
        tally: Tally | None = None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`secret`: what of the headers must never be shown. `explain`: what a refusal means. `attempt_s`: for one attempt."""
        self._name = name
        self._address = address
        self._url = httpx.URL(address)
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        self._facts: dict[str, str | int] = {
            "http.request.method": "POST",
            "server.address": self._url.host,
            "server.port": port,
            "url.full": str(self._url.copy_with(query=None)),
        }
        self._headers = httpx.Headers({**HEADERS, **headers})
        self._secret = secret
        self._timeout_s = timeout_s
        self._attempt_s = attempt_s
        self._max_attempts = max_attempts
        self._explain = explain
        self._breaker = breaker
        self._door: Door = door or OpenDoor()
        self._wait = wait
        self._way: WayOut | None = None
        self.tally = tally or Tally()
        self.state: State = "checking"
        """As the last answer was; `checking` before the first."""
        self.reason: str | None = None
        """Why it is failing."""

    @property
    def host(self) -> str:
        """Who is asked, for people."""
        return host_of(self._address)

    def open(self) -> None:
        """Make the pool of connections, which belongs to the running event loop."""
        self._way = way_out(self._url, self._headers, MAX_REPLY_BYTES)

    async def close(self) -> None:
        """Close the connections."""
        if self._way is not None:
            await self._way.close()

    async def ask(self, body: bytes) -> object:
        """Send a body, get what the reply's JSON says.

        What may go better is tried again, after pauses that grow and differ, or as long as the service asks, while `timeout_s`
        lasts. Raises `RemoteBusy`, `RemoteDown`, `RemoteTimedOut` or `RemoteFailed`, and what the door raises.
        """
        try:
            deadline = asyncio.get_running_loop().time() + self._timeout_s
            async with asyncio.timeout_at(deadline):
                reply = await self._attempts(body, deadline)
        except TimeoutError:
            raise self._failed(RemoteTimedOut(f"{self.host} did not answer within {self._timeout_s:g} s.")) from None
        except Unanswered as exc:
            self._failed(exc)
            raise
        self.state, self.reason = "ready", None
        return reply

    def disown(self, reply: object, what: str) -> RemoteFailed:
        """The error of a reply in JSON that is not what was agreed."""
        log.warning("remote reply refused", extra={"backend": self._name, "reason": what, "said": self._shown(json.dumps(reply))})
        return self._failed(RemoteFailed(f"{self.host} {what}."))

    async def _attempts(self, body: bytes, deadline: float) -> object:
        number = 1
        while True:
            attempt = await self._pass(body, deadline, number)
            if attempt.error is None:
                return attempt.reply
            pause = before_attempt(number, attempt.retry_after)
            late = asyncio.get_running_loop().time() + pause >= deadline
            if late or not attempt.again or number >= self._max_attempts:
                raise attempt.error
            await self._wait(pause)
            number += 1
            self.tally.retries += 1

    async def _pass(self, body: bytes, deadline: float, number: int) -> Attempt:
        """One attempt, if the breaker lets it and the door opens."""
        if self._breaker is not None:
            self._breaker.check()  # whoever would wait at the door in vain goes now
        try:
            async with asyncio.timeout_at(deadline - BRIEF_S):
                ticket = await self._door.enter()
        except TimeoutError:
            raise RemoteBusy(f"More is asked of {self.host} than its rate allows. Try again in 1 s.", 1) from None
        try:
            probe = self._breaker is not None and self._breaker.begin()
        except RemoteDown:
            self._door.unused(ticket)
            raise
        attempt = Attempt("given_up")
        try:
            attempt = await self._traced(body, number)
        finally:
            self.tally.count(attempt.outcome)
            if self._breaker is not None:
                self._breaker.end(probe, attempt.alive)
                self.tally.breaker = self._breaker.state
            if attempt.outcome == "unreachable":
                self._door.unused(ticket)
            else:
                self._door.leave(ticket, attempt.retry_after or 0.0)
        return attempt

    async def _traced(self, body: bytes, number: int) -> Attempt:
        """One attempt as a step of the image's trace, whose ids stay here: whom it asks has no use for them."""
        facts = self._facts | {"http.request.resend_count": number - 1} if number > 1 else self._facts
        with step("POST", facts, client=True) as span:
            attempt = await self._once(body)
            if span is not None:
                span.note({"parallax.outcome": attempt.outcome})
                if attempt.status is not None:
                    span.note({"http.response.status_code": attempt.status})
                if attempt.error is not None:
                    span.failed(str(attempt.status or attempt.outcome), str(attempt.error))
            return attempt

    async def _once(self, body: bytes) -> Attempt:
        if self._way is None:
            raise BackendFailed(f"{self._name} was not started.")
        try:
            async with asyncio.timeout(self._attempt_s):
                reply = await self._way.post(body)
        except httpx.HTTPError as exc:
            reason = self._shown(f"{type(exc).__name__}: {exc}")
            log.warning("remote unreachable", extra={"backend": self._name, "reason": reason})
            return broken(self._address, exc)
        except TimeoutError:
            log.warning("remote did not answer", extra={"backend": self._name, "seconds": self._attempt_s})
            error = RemoteTimedOut(f"{self.host} did not answer within {self._attempt_s:g} s.")
            return Attempt("timed_out", error=error, again=True)
        if len(reply.body) > MAX_REPLY_BYTES:
            return Attempt("failed", error=RemoteFailed(f"{self.host} answered with more than {MAX_REPLY_BYTES:,} bytes."))
        attempt = replace(judge(self._address, reply, self._explain), status=reply.status)
        if attempt.error is not None:
            shown = self._shown(reply.body.decode("utf-8", "replace"))
            log.warning("remote refused", extra={"backend": self._name, "status": reply.status, "said": shown})
        return attempt

    def _failed(self, error: Failed) -> Failed:
        self.state, self.reason = "failing", str(error)
        return error

    def _shown(self, text: str) -> str:
        return " ".join(text.replace(self._secret, "***").split())[:SAID_CHARACTERS]

"""What backends that answer from elsewhere share: connections, new attempts within one deadline, errors mapped once.

A reply is never trusted: its size is bounded, a redirect is not followed (the key would go along), and what it says in other
words than agreed goes to the log, without the key, and not to the caller.
"""

import asyncio
import json
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from service.addresses import host_of, is_loopback
from service.errors import BackendFailed, RemoteBusy, RemoteFailed, RemoteTimedOut, Unanswered

log = logging.getLogger("parallax.remote")

MAX_ATTEMPTS = 4
FIRST_PAUSE_S = 0.25
MAX_PAUSE_S = 4.0
CONNECT_S = 5.0
MAX_REPLY_BYTES = 1_000_000
SAID_CHARACTERS = 300
"""Of a reply that is not as agreed, in the log."""

Failed = TypeVar("Failed", bound=Unanswered)
State: TypeAlias = Literal["checking", "ready", "failing"]


class Remote:
    """One address, asked by POST with JSON, that answers with JSON."""

    def __init__(
        self,
        name: str,
        address: str,
        headers: Mapping[str, str],
        *,
        secret: str,
        timeout_s: float,
        max_in_flight: int,
        hints: Mapping[int, str],
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`secret`: what of the headers must never be shown. `hints`: what to do about a status, for a person."""
        self._name = name
        self._address = address
        self._headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", **headers}
        self._secret = secret
        self._timeout_s = timeout_s
        self._max_in_flight = max_in_flight
        self._hints = hints
        self._wait = wait
        self._client: httpx.AsyncClient | None = None
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
        self._client = httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=CONNECT_S),  # the deadline over all attempts bounds the rest
            limits=httpx.Limits(max_connections=self._max_in_flight, max_keepalive_connections=self._max_in_flight),
            follow_redirects=False,
            trust_env=not is_loopback(urlsplit(self._address).hostname or ""),  # a proxy has no way to this machine's loopback
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def ask(self, body: bytes) -> object:
        """Send a body, get what the reply's JSON says.

        408, 429, 5xx and broken connections are tried again, after pauses that grow and differ, or as long as `Retry-After` asks,
        while `timeout_s` lasts. Raises `RemoteBusy`, `RemoteTimedOut` or `RemoteFailed`.
        """
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                reply = await self._attempts(body, deadline.when() or math.inf)
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
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await self._once(body)
            except _Again as exc:
                pause = _pause(attempt, exc.retry_after)
                if attempt == MAX_ATTEMPTS or asyncio.get_running_loop().time() + pause >= deadline:
                    raise exc.error from exc.__cause__
            await self._wait(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, body: bytes) -> object:
        if self._client is None:
            raise BackendFailed(f"{self._name} was not started.")
        try:
            async with self._client.stream("POST", self._address, content=body) as reply:
                said = await self._read(reply)
        except httpx.HTTPError as exc:
            log.warning("remote unreachable", extra={"backend": self._name, "reason": f"{type(exc).__name__}: {exc}"})
            raise _Again(RemoteFailed(f"{self.host} can't be reached ({type(exc).__name__}).")) from exc
        if reply.status_code == httpx.codes.OK:
            try:
                return json.loads(said)
            except (ValueError, RecursionError) as exc:
                self._log(reply, said)
                raise RemoteFailed(f"{self.host} answered with something that is no JSON. Is it the scoring address?") from exc
        self._log(reply, said)
        raise self._refused(reply)

    async def _read(self, reply: httpx.Response) -> bytes:
        said = b""
        async for chunk in reply.aiter_bytes():
            said += chunk
            if len(said) > MAX_REPLY_BYTES:
                raise RemoteFailed(f"{self.host} answered with more than {MAX_REPLY_BYTES:,} bytes.")
        return said

    def _refused(self, reply: httpx.Response) -> "RemoteFailed | _Again":
        status = reply.status_code
        hint = self._hints.get(status, "The log has its words.")
        retry_after = _retry_after(reply.headers.get("Retry-After"))
        if status == httpx.codes.TOO_MANY_REQUESTS:
            seconds = math.ceil(retry_after or 1)
            return _Again(RemoteBusy(f"{self.host} takes no more for now (429). Try again in {seconds} s.", seconds), retry_after)
        if reply.has_redirect_location:
            target = host_of(urljoin(self._address, reply.headers["Location"]))
            return RemoteFailed(f"{self.host} sends on to {target} ({status}), where the key is not sent. {hint}")
        failed = RemoteFailed(f"{self.host} answered with status {status}. {hint}")
        again = status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR
        return _Again(failed, retry_after) if again else failed

    def _failed(self, error: Failed) -> Failed:
        self.state, self.reason = "failing", str(error)
        return error

    def _log(self, reply: httpx.Response, said: bytes) -> None:
        described = {"backend": self._name, "status": reply.status_code, "said": self._shown(said.decode("utf-8", "replace"))}
        log.warning("remote refused", extra=described)

    def _shown(self, text: str) -> str:
        return " ".join(text.replace(self._secret, "***").split())[:SAID_CHARACTERS]


class _Again(Exception):
    """It may go better next time; if there is none, `error` is what the caller gets."""

    def __init__(self, error: RemoteFailed | RemoteBusy, retry_after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after


def _pause(attempt: int, retry_after: float | None) -> float:
    """Seconds before the next attempt."""
    pause = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (attempt - 1))
    return max(retry_after or 0.0, pause * random.uniform(0.5, 1.0))  # noqa: S311  # so that callers don't come back together


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a time zone
        return None

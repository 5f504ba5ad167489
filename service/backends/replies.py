"""What became of one request to a remote service, judged by its reply. Foreign words and errors are mapped here, once."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from urllib.parse import urljoin

import httpx

from models import refusals
from service.addresses import host_of
from service.backends.wire import Reply
from service.errors import RemoteBusy, RemoteFailed, RemoteTimedOut
from service.tally import Outcome

OTHERWISE = "The log has its words."
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Nothing of the request has left."""


class Refusal(NamedTuple):
    """What a reply that is not 200 says."""

    hint: str | None = None
    """What to do about it, for a person."""
    retry_after: float | None = None
    """Seconds, if its words name some."""


Explain: TypeAlias = Callable[[int, bytes], Refusal]
"""Reads a status and a body."""


def by_status(hints: Mapping[int, str]) -> Explain:
    """Explains by the status alone."""
    return lambda status, _said: Refusal(hints.get(status))


@dataclass(frozen=True)
class Attempt:
    """One request that is over."""

    outcome: Outcome
    reply: object = None
    """Its JSON, if it was answered."""
    error: RemoteFailed | RemoteBusy | RemoteTimedOut | None = None
    """What the caller gets, if this was the last attempt."""
    again: bool = False
    """It may go better next time."""
    retry_after: float | None = None
    """Seconds that it asked for."""
    status: int | None = None
    """Of the reply, if there was one."""

    @property
    def alive(self) -> bool | None:
        """Whether it shows that the service lives; None if it shows nothing."""
        return None if self.outcome == "given_up" else self.outcome in ("answered", "throttled", "refused")


def judge(address: str, reply: Reply, explain: Explain) -> Attempt:
    """An attempt by its reply. 408, 429, 5xx and a 200 that is no JSON may go better next time."""
    status = reply.status
    if status == httpx.codes.OK:
        try:
            found = json.loads(reply.body)
        except (ValueError, RecursionError):
            found = None
        if found is not None:
            return Attempt("answered", found)
        error = RemoteFailed(f"{host_of(address)} answered with something that is no JSON. Is the address right?")
        return Attempt("failed", error=error, again=True)
    host, headers = host_of(address), reply.headers
    refusal = explain(status, reply.body)
    hint = refusal.hint or OTHERWISE
    asked = refusals.from_header(headers.get("Retry-After"))
    retry_after = refusal.retry_after if asked is None else asked
    if status == httpx.codes.TOO_MANY_REQUESTS:
        seconds = math.ceil(retry_after or 1)
        busy = RemoteBusy(f"{host} takes no more for now (429). Try again in {seconds} s.", seconds)
        return Attempt("throttled", error=busy, again=True, retry_after=retry_after)
    if httpx.codes.is_redirect(status) and "Location" in headers:
        target = host_of(urljoin(address, headers["Location"]))
        return Attempt(
            "refused", error=RemoteFailed(f"{host} sends on to {target} ({status}), where the key is not sent. {hint}")
        )
    failed = RemoteFailed(f"{host} answered with status {status}. {hint}")
    if status == httpx.codes.REQUEST_TIMEOUT or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Attempt("failed", error=failed, again=True, retry_after=retry_after)
    return Attempt("refused", error=failed)


def broken(address: str, exc: httpx.HTTPError) -> Attempt:
    """An attempt whose connection failed."""
    error = RemoteFailed(f"{host_of(address)} can't be reached ({type(exc).__name__}).")
    error.__cause__ = exc
    return Attempt("unreachable" if isinstance(exc, UNSENT) else "failed", error=error, again=True)

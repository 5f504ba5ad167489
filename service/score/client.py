"""How a server's answers are taken: its problems as errors, its events as they come, over connections that may break."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from models.errors import UsageError
from service.errors import ServiceError

PATIENCE_S = 60.0
"""How long a server may be away while its job goes on: it may be starting anew."""
RETRY_S = 0.5


class ServerFailed(ServiceError):
    """A server can't be reached, or fails."""


@asynccontextmanager
async def talking(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Raises `ServerFailed` where a connection can't be had or breaks."""
    try:
        yield
    except httpx.HTTPError as exc:
        raise ServerFailed(f"{client.base_url} can't be reached: {str(exc) or type(exc).__name__}") from exc


def checked(reply: httpx.Response) -> httpx.Response:
    """A reply that is no problem. Raises `UsageError` for one that the caller can mend, else `ServerFailed`."""
    if reply.is_success:
        return reply
    try:
        said = str(reply.json()["detail"])
    except (ValueError, KeyError, TypeError):
        said = f"{reply.request.url.path} answers with status {reply.status_code}. Is that the address of a Parallax server?"
    if reply.status_code == httpx.codes.UNAUTHORIZED:
        raise UsageError("The server asks for an API key, or for another one. Put it into PARALLAX_API_KEY.")
    mine = reply.is_client_error and reply.status_code != httpx.codes.TOO_MANY_REQUESTS
    raise (UsageError if mine or reply.is_redirect else ServerFailed)(f"{reply.request.url.host}: {said}")


class JobEvents:
    """A job's progress to its end, whatever becomes of connections and of the server meanwhile."""

    def __init__(self, client: httpx.AsyncClient, job: str) -> None:
        self._client = client
        self._path = f"v1/scorings/{job}/events"
        self._last = "0"
        """Id of the last event that has one."""

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Raises `ServerFailed` if the server stays away, `UsageError` if it does not know the job any more."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            reason = "it sends no more"
            try:
                async for kind, data in self._events():
                    heard = loop.time()
                    if kind == "progress":
                        yield data
                    elif kind == "end":
                        return
            except (httpx.TransportError, ServerFailed) as exc:
                reason = str(exc) or type(exc).__name__
            if loop.time() - heard > PATIENCE_S:
                raise ServerFailed(f"{self._client.base_url} is gone ({reason}). The job goes on when it is back.")
            await asyncio.sleep(RETRY_S)

    async def _events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        async with self._client.stream("GET", self._path, headers={"Last-Event-ID": self._last}) as reply:
            if reply.is_error:
                await reply.aread()
            checked(reply)
            kind = ""
            async for line in reply.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    self._last = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)

"""A run on a server: the set goes there, its progress comes back as events, and its results as they are kept there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from models.errors import ParallaxError, UsageError
from models.hosts import is_loopback
from models.scoring.results import Scoring
from service.api.scoring_rows import FormName
from service.score.asked import Asked
from service.score.board import Board, outlined
from service.score.client import JobEvents, ServerFailed, checked, talking
from service.score.sets import local_set
from service.score.upload import Form, packed
from service.scoring.addresses import is_address

API_KEY = "PARALLAX_API_KEY"
RESULT_S = 300.0
"""For the server to judge the rows, and to make a report."""


@asynccontextmanager
async def on_server(asked: Asked, board: Board, *, key: str) -> AsyncIterator["ServerOutcome"]:
    """Have a server run it. Raises `UsageError` for what it refuses, `ServerFailed` if it can't be reached."""
    async with connected(asked.server or "", key) as client:
        job = await hand_in(client, asked, board)
        place = f"{client.base_url}v1/scorings/{job['id']}"
        board.say(f"{outlined(job)}. Job {job['id']} of {client.base_url}")
        try:
            async for progress in JobEvents(client, job["id"]):
                board.show(progress)
        except asyncio.CancelledError:
            board.say("Cancelling the job on the server.")
            with suppress(ParallaxError):
                async with talking(client):
                    checked(await client.delete(f"v1/scorings/{job['id']}"))
                board.say(f"Cancelled. What it has by now stays at {place}")
            raise
        async with talking(client):
            info = checked(await client.get(f"v1/scorings/{job['id']}", timeout=RESULT_S)).json()
        yield ServerOutcome(client, info)


@asynccontextmanager
async def connected(server: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server. Raises `UsageError` for an address that is none, or that holds a secret."""
    try:
        parts = urlsplit(server)
        named, host = parts.username or parts.password or parts.query, parts.hostname
    except ValueError as exc:
        raise UsageError(f"--server {server!r} is no address: {exc}") from None
    if named:
        raise UsageError(f"A key does not belong into an address, which others can see. Put it into {API_KEY}.")
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"--server {server!r} is no address such as http://127.0.0.1:8000.")
    async with httpx.AsyncClient(
        base_url=server.rstrip("/") + "/",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(30, read=60),
        trust_env=not is_loopback(host),  # a proxy has no way back to this machine
    ) as client:
        yield client


async def hand_in(client: httpx.AsyncClient, asked: Asked, board: Board) -> dict[str, Any]:
    """Ask for the job, sending the set if it is here. Returns it as the server describes it."""
    options = asked.options.model_dump(mode="json", exclude_defaults=True)
    async with talking(client):
        listed = checked(await client.get("v1/backends")).json()["backends"]  # before a large file goes on its way
        known = sorted({one["name"] for one in listed})
        if lacking := [name for name in asked.options.backends or () if name not in known]:
            raise UsageError(f"{client.base_url} has no backend {', '.join(lacking)}. It has: {', '.join(known) or 'none'}.")
        if asked.on_server or is_address(asked.dataset):
            job = await client.post("v1/scorings", json=options | {"dataset": asked.dataset}, timeout=RESULT_S)
        else:
            given = local_set(asked.dataset)
            form = Form(
                {"title": given.title} | options, await asyncio.to_thread(packed, given.path, given.split), board.uploading
            )
            headers = {"Content-Type": form.content_type}
            job = await client.post("v1/scorings", content=form.body(), headers=headers, timeout=RESULT_S)
        described: dict[str, Any] = checked(job).json()
    return described


class ServerOutcome:
    """A job of a server that has ended."""

    def __init__(self, client: httpx.AsyncClient, info: dict[str, Any]) -> None:
        """Raises `ServerFailed` if its results are none that this version knows."""
        self._client = client
        self.info = info
        given = info.get("results")
        try:
            self.result = None if given is None else Scoring.model_validate(given)
        except ValidationError:
            raise ServerFailed(f"{client.base_url} is of another version: its results are there, and can't be shown.") from None

    def report(self) -> AsyncIterator[bytes]:
        """One HTML file."""
        return self._download("report", {})

    def predictions(self, form: FormName) -> AsyncIterator[bytes]:
        """Every row."""
        return self._download("predictions", {"format": form})

    async def _download(self, what: str, query: dict[str, str]) -> AsyncIterator[bytes]:
        path = f"v1/scorings/{self.info['id']}/{what}"
        async with talking(self._client), self._client.stream("GET", path, params=query, timeout=RESULT_S) as reply:
            if reply.is_error:
                await reply.aread()
            async for part in checked(reply).aiter_bytes():
                yield part

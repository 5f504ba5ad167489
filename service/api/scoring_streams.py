"""A scoring job's progress, as it goes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from service.api.scoring_schemas import described, moment
from service.scoring.jobs import ENDED, Job

if TYPE_CHECKING:
    from service.scoring.desk import Desk

LOOK_S = 0.25
"""How often the database is asked for news."""
SILENCE_S = 15.0
"""After so long without news a comment is sent, so that nothing on the way takes the connection for dead."""


async def progress(desk: "Desk", job: str, after: int, draining: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Server-sent events until the job has ended: `progress` whenever it changes, and what happens to the job, with ids.

    They also end when the service stops, which they would hold up; clients come back with the last id that they saw.
    """
    told: dict[str, Any] | None = None
    silent = 0.0
    while not draining():
        found, events = await desk.events(job, after)
        for event in events:
            after = event.number
            yield _event(event.kind, {**event.data, "at": moment(event.at)}, event.number)
        now = progress_of(found)
        if now != told:
            yield _event("progress", now)
            told, silent = now, 0.0
        if found.state in ENDED:
            yield _event("end", {"state": found.state, "note": found.note})
            return
        silent += LOOK_S
        if silent >= SILENCE_S:
            yield b": nothing new\n\n"
            silent = 0.0
        await asyncio.sleep(LOOK_S)


def progress_of(job: Job) -> dict[str, Any]:
    """What a `progress` event says."""
    backends = []
    for one in described(job)["backends"]:
        rate = one["images_per_second"]
        left = one["progress"]["total"] - one["progress"]["done"]
        wanted = ("name", "progress", "failed", "accuracy", "images_per_second")
        backends.append({name: one[name] for name in wanted} | {"seconds_left": left / rate if rate else None})
    return {"state": job.state, "done": job.done, "total": job.total, "backends": backends}


def _event(kind: str, data: dict[str, Any], number: int | None = None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {kind}\ndata: ".encode() + to_json(data) + b"\n\n"

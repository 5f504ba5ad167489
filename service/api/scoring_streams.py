"""Replies of a scoring job that are written as they come to be: its progress, and its rows."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from service.api.scoring_schemas import described, moment, row_info
from service.scoring.jobs import ENDED, Job

if TYPE_CHECKING:
    from service.scoring.desk import Desk

LOOK_S = 0.25
"""How often the database is asked for news."""
SILENCE_S = 15.0
"""After so long without news a comment is sent, so that nothing on the way takes the connection for dead."""

COLUMNS = ("image", "backend", "version", "precision", "label", "predicted", "probability")
TIMES = ("queue", "decode", "infer", "total")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell (owasp.org/www-community/attacks/CSV_Injection)."""


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
        now = _progress(found)
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


async def jsonl(desk: "Desk", job: Job) -> AsyncIterator[bytes]:
    """A line of JSON for each row."""
    after = None
    while rows := await desk.page(job, after):
        yield b"".join(to_json(row_info(row)) + b"\n" for row in rows)
        after = (rows[-1].backend, rows[-1].image)


async def table(desk: "Desk", job: Job) -> AsyncIterator[bytes]:
    """CSV with a header (RFC 4180)."""
    yield _lines([[*COLUMNS, *(f"{name}_ms" for name in TIMES), "error", "detail"]])
    after = None
    while rows := await desk.page(job, after):
        infos = [row_info(row) for row in rows]
        yield _lines(
            [
                *(_cell(info[name]) for name in COLUMNS),
                *(_cell((info["timing_ms"] or {}).get(name)) for name in TIMES),
                _cell(info["error"]),
                _cell(info["detail"]),
            ]
            for info in infos
        )
        after = (rows[-1].backend, rows[-1].image)


def _progress(job: Job) -> dict[str, Any]:
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


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()

"""The command from its engine to its exit status."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

import uvloop
from rich.console import Console

from models.errors import UsageError
from models.files import written_whole
from models.scoring.tables import print_scoring
from service.api.scoring_rows import FormName, check
from service.score.asked import Asked, Engine, Outcome
from service.score.board import Board

DONE, SHORT = 0, 1
"""Exit statuses, besides 2 for what can't be done as it was asked for."""

WIDTH = 150
"""Of a table that goes into a file or another program."""


@dataclass(frozen=True)
class Files:
    """What is to be written of a run."""

    report: Path | None = None
    predictions: Path | None = None
    whole: Path | None = None

    def check(self) -> None:
        """Raise `UsageError` or `FormatUnavailable` for what could not be written, before hours are spent."""
        for path in filter(None, (self.report, self.predictions, self.whole)):
            if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
                raise UsageError(f"{path} can't be written: name a file in a folder that is there and may be written to.")
        if self.predictions and self.form not in get_args(FormName):
            raise UsageError(f"{self.predictions} can't be written: its name must end with .jsonl, .csv or .parquet.")

    @property
    def form(self) -> str:
        """How predictions are written: what the file's name ends with."""
        return self.predictions.suffix.lower().removeprefix(".") if self.predictions else ""


def run(asked: Asked, files: Files, engine: str = "local") -> int:
    """Do what was asked for, show it and write it. Returns the exit status. Raises `ParallaxError`."""
    files.check()
    doing = chosen(asked, engine)
    if files.predictions and not asked.server:
        check(cast("FormName", files.form))
    with Board(Console(stderr=True)) as board, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_run(asked, files, doing, board))
        except KeyboardInterrupt:  # the engine has said what becomes of the run
            return SHORT


def chosen(asked: Asked, engine: str) -> Engine:
    """The engine of a name. Raises `UsageError`."""
    if engine not in ("local", "ray"):
        raise UsageError(f"There is no engine {engine!r}. There are: local, ray.")
    if asked.server is not None:
        from service.score.server import API_KEY, on_server

        return partial(on_server, key=os.environ.get(API_KEY, ""))
    from service.score.local import local

    return partial(local, on_ray=engine == "ray")


def detach(asked: Asked) -> None:
    """Hand a job in to a server, and print where it is to be seen. Raises `ParallaxError`."""
    from service.score.server import API_KEY, connected, hand_in

    async def leave(board: Board) -> str:
        async with connected(asked.server or "", os.environ.get(API_KEY, "")) as client:
            return f"{client.base_url}v1/scorings/{(await hand_in(client, asked, board))['id']}"

    with Board(Console(stderr=True)) as board:
        place = asyncio.run(leave(board))
    Console(soft_wrap=True).print(place, highlight=False, markup=False)


async def _run(asked: Asked, files: Files, engine: Engine, board: Board) -> int:
    async with engine(asked, board) as outcome:
        board.stop()
        info, result = outcome.info, outcome.result
        if result is not None:
            console = Console()
            if not console.is_terminal and "COLUMNS" not in os.environ:
                console.width = WIDTH
            print_scoring(console, result)
            if files.report:
                await _write(files.report, outcome.report())
        else:
            board.say(f"The run {info['state']}, and nothing came of it: {info['note']}")
        await _write_rows(files, outcome)
    answered = all(one["progress"]["done"] > one["failed"] for one in info["backends"])
    return DONE if info["state"] == "succeeded" and answered else SHORT


async def _write_rows(files: Files, outcome: Outcome) -> None:
    if files.predictions:
        await _write(files.predictions, outcome.predictions(cast("FormName", files.form)))
    if files.whole:
        with written_whole(files.whole) as file:
            file.write(json.dumps(outcome.info, indent=2, ensure_ascii=False).encode() + b"\n")


async def _write(path: Path, parts: AsyncIterator[bytes]) -> None:
    with written_whole(path) as file:
        async for part in parts:
            file.write(part)

"""Judging and drawing in a process of its own, which ends with it.

scikit-learn and scipy take seconds to load, and 150 MB to stay; a report shrinks hundreds of pictures.

`python -m service.scoring.apart measure` reads lines of JSON, what is known of the backends and of the run and then each row, and
writes the results. `... draw` reads the results and then each image that the report shows, and writes the report.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from pydantic import BaseModel

from models.imaging import Limits
from models.scoring.facts import BackendFacts, RunFacts
from models.scoring.measure import measure
from models.scoring.report import draw
from models.scoring.results import Scoring
from service.niceness import NOT_URGENT, step_back
from service.scoring.rows import Row

HERE = Path(__file__).parents[2]
"""Where the very code lies that is asking: the process finds it first."""


class _Facts(BaseModel):
    backends: list[BackendFacts]
    run: RunFacts


class _Drawing(BaseModel):
    found: Scoring
    max_bytes: int
    max_pixels: int


def measured(rows: Sequence[Row], backends: Sequence[BackendFacts], run: RunFacts) -> Scoring:
    """`measure`, at nobody's expense: not of Python's lock, nor of processors that others want. Blocks. Raises as `_done`."""
    facts = _Facts(backends=list(backends), run=run).model_dump_json()
    return Scoring.model_validate_json(_done("measure", chain([facts.encode()], map(_line, rows))))


def drawn(found: Scoring, images: Iterable[tuple[str, bytes]], limits: Limits) -> str:
    """`draw`, at nobody's expense either, with one image at a time in this process. Blocks. Raises as `_done`."""
    task = _Drawing(found=found, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels).model_dump_json()
    lines = (json.dumps([name, base64.b64encode(data).decode()]).encode() for name, data in images)
    return _done("draw", chain([task.encode()], lines)).decode()


def _done(what: str, lines: Iterable[bytes]) -> bytes:
    """What the process writes when it has read all lines.

    Raises `subprocess.CalledProcessError` if the process fails, or is killed; its last words are a note of it.
    """
    command = [sys.executable, "-m", "service.scoring.apart", what]
    with TemporaryFile() as said:  # a pipe that nobody reads meanwhile would fill
        # Ctrl-C reaches all processes of a terminal, but for other groups: who waits for this one decides.
        process = subprocess.Popen(  # noqa: S603  # this very program
            command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, process_group=0
        )
        with process:
            try:
                if process.stdin is None or process.stdout is None:
                    raise BrokenPipeError
                with suppress(BrokenPipeError), process.stdin as pipe:  # if it has died, its status tells
                    for line in lines:
                        pipe.write(line + b"\n")
                found = process.stdout.read()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            failure = subprocess.CalledProcessError(process.returncode, command)
            said.seek(max(0, said.seek(0, os.SEEK_END) - 2000))
            failure.add_note(said.read().decode(errors="replace"))
            raise failure
    return found


def _line(row: Row) -> bytes:
    scores = None if row.scores is None else base64.b64encode(row.scores.astype("<f4").tobytes()).decode()
    return json.dumps(row._replace(scores=scores)).encode()  # type: ignore[arg-type]  # on its way it is text


def _rows(lines: Iterable[bytes]) -> Iterator[Row]:
    for line in lines:
        values = dict(zip(Row._fields, json.loads(line), strict=True))
        if (scores := values["scores"]) is not None:
            values["scores"] = np.frombuffer(base64.b64decode(scores), "<f4")
        yield Row(**values)


def _images(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    for line in lines:
        name, data = json.loads(line)
        yield name, base64.b64decode(data)


def main() -> None:
    """What the process does."""
    step_back(NOT_URGENT)
    (what,), first = sys.argv[1:], sys.stdin.buffer.readline()
    if what == "measure":
        facts = _Facts.model_validate_json(first)
        result = measure(_rows(sys.stdin.buffer), facts.backends, facts.run).model_dump_json()
    else:
        task = _Drawing.model_validate_json(first)
        result = draw(task.found, _images(sys.stdin.buffer), Limits(task.max_bytes, task.max_pixels))
    sys.stdout.buffer.write(result.encode())


if __name__ == "__main__":
    main()

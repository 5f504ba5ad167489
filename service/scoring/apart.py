"""Judging in a process of its own, which ends with it: scikit-learn and scipy take seconds to load, and 150 MB to stay.

`python -m service.scoring.apart` reads lines of JSON, what is known of the backends and of the run and then each row, and
writes the results.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from models.scoring.facts import BackendFacts, RunFacts
from models.scoring.measure import measure
from models.scoring.results import Scoring
from service.niceness import NOT_URGENT, step_back
from service.scoring.rows import Row

HERE = Path(__file__).parents[2]
"""Where the very code lies that is asking: the process finds it first."""


class _Facts(BaseModel):
    backends: list[BackendFacts]
    run: RunFacts


def measured(rows: Sequence[Row], backends: Sequence[BackendFacts], run: RunFacts) -> Scoring:
    """`measure`, at nobody's expense: not of Python's lock, nor of processors that others want. Blocks.

    Raises `subprocess.CalledProcessError` if the process fails, or is killed; its last words are a note of it.
    """
    command = [sys.executable, "-m", "service.scoring.apart"]
    lines = [_Facts(backends=list(backends), run=run).model_dump_json(), *map(_line, rows), ""]
    done = subprocess.run(  # noqa: S603  # this very program
        command,
        cwd=HERE,
        input="\n".join(lines).encode(),
        capture_output=True,
        check=False,
        process_group=0,  # Ctrl-C reaches all processes of a terminal; who waits for this one decides
    )
    if done.returncode:
        failure = subprocess.CalledProcessError(done.returncode, command)
        failure.add_note(done.stderr.decode(errors="replace")[-2000:])
        raise failure
    return Scoring.model_validate_json(done.stdout)


def _line(row: Row) -> str:
    scores = None if row.scores is None else base64.b64encode(row.scores.astype("<f4").tobytes()).decode()
    return json.dumps(row._replace(scores=scores))  # type: ignore[arg-type]  # on its way it is text


def _rows(lines: Iterable[bytes]) -> Iterator[Row]:
    for line in lines:
        values = dict(zip(Row._fields, json.loads(line), strict=True))
        if (scores := values["scores"]) is not None:
            values["scores"] = np.frombuffer(base64.b64decode(scores), "<f4")
        yield Row(**values)


def main() -> None:
    """What the process does."""
    step_back(NOT_URGENT)
    facts = _Facts.model_validate_json(sys.stdin.buffer.readline())
    sys.stdout.write(measure(_rows(sys.stdin.buffer), facts.backends, facts.run).model_dump_json())


if __name__ == "__main__":
    main()

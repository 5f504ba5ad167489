"""Rows on their way through Ray Data: Arrow tables that hold the same values, to the last bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.scoring.jobs import Task
from service.scoring.rows import Row

TEXTS = ("image", "label", "backend", "version", "precision", "predicted", "error", "detail")
NUMBERS = ("probability", "queue_ms", "decode_ms", "infer_ms", "total_ms")


@dataclass(frozen=True)
class Part:
    """What one process made of some images."""

    rows: Sequence[Row]
    labels: tuple[str, ...]
    """In whose order the rows have their scores; empty if none has any."""
    seconds: float
    """That it took."""
    node: str = ""
    """Id of the machine."""


def to_tasks(table: Any) -> list[Task]:  # noqa: ANN401  # a pyarrow.Table
    """What each line says, by the names of a task's fields."""
    return [Task(one["image"], one["label"]) for one in table.to_pylist()]


def of_part(part: Part) -> Any:  # noqa: ANN401
    """A line for each row."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    schema = pa.schema(
        [
            *((name, text) for name in TEXTS),
            *((name, number) for name in NUMBERS),
            ("scores", pa.list_(pa.float32())),
            ("labels", pa.list_(text)),
            ("seconds", number),
            ("node", text),
        ]
    )
    facts = {"labels": list(part.labels), "seconds": part.seconds, "node": part.node}
    return pa.Table.from_pylist([row._asdict() | facts for row in part.rows], schema=schema)


def to_part(table: Any) -> Part:  # noqa: ANN401
    """What `of_part` was given, one row or more."""
    lines = table.to_pylist()
    first = lines[0]
    return Part([_row(line) for line in lines], tuple(first["labels"]), first["seconds"], first["node"])


def _row(line: dict[str, Any]) -> Row:
    scores = line["scores"]
    values = {name: line[name] for name in (*TEXTS, *NUMBERS)}
    return Row(**values, scores=None if scores is None else np.array(scores, np.float32))

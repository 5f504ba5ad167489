"""Rows as files: what they cost in memory, and what is said where Parquet can't be written."""

import io
import sys
from collections.abc import AsyncIterator

import pytest
from pyarrow import parquet as reader

from service.api import scoring_rows
from service.errors import FormatUnavailable
from service.scoring.rows import Row

ROWS = [
    Row(f"a/{number}.png", "a", "cnn", "1", "fp32", "=b", 0.5, None, 0.1, 0.2, 0.3, 0.6, None)
    if number % 3
    else Row(f"a/{number}.png", None, "cnn", "1", "fp32", None, None, None, None, None, None, None, "broken-image", "It is.")
    for number in range(2500)
]


async def pages() -> AsyncIterator[list[Row]]:
    for start in range(0, len(ROWS), 100):
        yield ROWS[start : start + 100]


async def nothing() -> AsyncIterator[list[Row]]:
    for none in ():
        yield none


async def test_parquet_is_written_a_row_group_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_rows, "GROUP_ROWS", 1000)
    parts = [part async for part in scoring_rows.parquet(pages())]
    assert len(parts) == 4, "three row groups, and their list"
    file = reader.ParquetFile(io.BytesIO(b"".join(parts)))
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [1000, 1000, 500]
    found = file.read().to_pylist()
    assert [row["image"] for row in found] == [row.image for row in ROWS]
    assert found[0] | {"label": None, "probability": None, "total_ms": None, "error": "broken-image"} == found[0]
    assert (found[1]["predicted"], found[1]["infer_ms"]) == ("=b", 0.3)


async def test_a_job_without_rows_is_a_file_without_rows() -> None:
    data = b"".join([part async for part in scoring_rows.parquet(nothing())])
    assert reader.read_table(io.BytesIO(data)).num_rows == 0


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    scoring_rows.check("csv")
    with pytest.raises(FormatUnavailable, match="make serve EXTRAS=parquet"):
        scoring_rows.check("parquet")

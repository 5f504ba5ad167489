"""A scoring job's rows as files: JSON lines, CSV, Parquet. Written page by page, so that a job of any size fits into memory."""

import asyncio
import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic_core import to_json

from service.api.scoring_schemas import row_info
from service.errors import FormatUnavailable
from service.scoring.rows import Row

FormName: TypeAlias = Literal["jsonl", "csv", "parquet"]
Pages: TypeAlias = AsyncIterable[list[Row]]

COLUMNS = ("image", "backend", "version", "precision", "label", "predicted", "probability")
TIMES = ("queue", "decode", "infer", "total")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell (owasp.org/www-community/attacks/CSV_Injection)."""

GROUP_ROWS = 16_000
"""Of a Parquet file's row group: what is in memory at once, and what a reader can skip as one."""


async def jsonl(pages: Pages) -> AsyncIterator[bytes]:
    """A line of JSON for each row."""
    async for rows in pages:
        yield b"".join(to_json(row_info(row)) + b"\n" for row in rows)


async def table(pages: Pages) -> AsyncIterator[bytes]:
    """CSV with a header (RFC 4180)."""
    yield _lines([[*COLUMNS, *(f"{name}_ms" for name in TIMES), "error", "detail"]])
    async for rows in pages:
        yield _lines([_cell(value) for value in _flat(row).values()] for row in rows)


async def parquet(pages: Pages) -> AsyncIterator[bytes]:
    """Parquet with the columns of the CSV, a row group for every `GROUP_ROWS` rows. `check` comes first."""
    file = await asyncio.to_thread(_Parquet)
    waiting: list[Row] = []
    async for rows in pages:
        waiting += rows
        if len(waiting) >= GROUP_ROWS:
            yield await asyncio.to_thread(file.add, waiting)
            waiting = []
    if waiting:
        yield await asyncio.to_thread(file.add, waiting)
    yield await asyncio.to_thread(file.end)


class Form(NamedTuple):
    """A kind of file that rows are written as."""

    media_type: str
    write: Callable[[Pages], AsyncIterator[bytes]]


FORMS: Mapping[FormName, Form] = {
    "jsonl": Form("application/x-ndjson", jsonl),
    "csv": Form("text/csv", table),
    "parquet": Form("application/vnd.apache.parquet", parquet),
}


def check(form: FormName) -> None:
    """Raise `FormatUnavailable` where what writes a form is not installed. It may block for the time of an import."""
    if form == "parquet":
        try:
            import pyarrow as pa  # noqa: F401
        except ImportError:
            raise FormatUnavailable(
                "Parquet needs pyarrow, which is not installed here: start with `make serve EXTRAS=parquet`, or type "
                "`EXTRAS=parquet scripts/env.sh serve-cpu`. JSON lines and CSV are to be had without it."
            ) from None


class _Parquet:
    """A file that is taken away as it is written. Every method blocks."""

    def __init__(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        text, number = pa.string(), pa.float64()
        numbers = {"probability", *(f"{name}_ms" for name in TIMES)}
        names = (*COLUMNS, *(f"{name}_ms" for name in TIMES), "error", "detail")
        self._schema: pa.Schema = pa.schema([(name, number if name in numbers else text) for name in names])
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(pa.PythonFile(self._sink, mode="w"), self._schema, compression="zstd")

    def add(self, rows: Iterable[Row]) -> bytes:
        """Write a row group. Returns the bytes that are ready."""
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist([_flat(row) for row in rows], schema=self._schema))
        return self._sink.take()

    def end(self) -> bytes:
        """Write the list of row groups. Returns the last bytes."""
        self._writer.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken, and knows how much that was in all."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._taken = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401  # any buffer
        size = memoryview(data).nbytes
        self._bytes += data
        return size

    def tell(self) -> int:
        return self._taken + len(self._bytes)

    def take(self) -> bytes:
        """What was not taken yet."""
        found, self._bytes = bytes(self._bytes), bytearray()
        self._taken += len(found)
        return found


def _flat(row: Row) -> dict[str, Any]:
    """A row's values by column, the times beside the others."""
    info = row_info(row)
    times = {f"{name}_ms": (info["timing_ms"] or {}).get(name) for name in TIMES}
    return {name: info[name] for name in COLUMNS} | times | {"error": info["error"], "detail": info["detail"]}


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text


def _lines(rows: Iterable[Iterable[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()

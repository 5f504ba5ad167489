"""What was sent to a project, kept on this disk as it happens, so that an upload that was killed goes on where it was."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self


class Journal:
    """A file of records, one a line, of which a kill can lose no more than the last, half-written one. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None

    def records(self) -> Iterator[Mapping[str, object]]:
        """What is there; a line that is no record is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record

    def write(self, *records: Mapping[str, object]) -> None:
        """Add records: when this returns they outlive the process."""
        if self._file is None:
            raise ValueError("the journal is not open")
        text = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
        with self._lock:
            self._file.write(text)
            self._file.flush()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab+")
        if self._file.tell() > 0:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":  # a kill cut the last line short
                self._file.write(b"\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

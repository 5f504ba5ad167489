"""Sets that are open, so that who asks for hundreds of pictures of one does not open it anew for each."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from service.scoring.library import Library
from service.scoring.sources import Source

MOST = 2
"""Zips that stay open when nobody reads them: the list of a large one takes some 60 MB."""

Key: TypeAlias = tuple[object, ...]


@dataclass
class _Open:
    source: Source
    readers: int = 0


class Shelf:
    """Safe to use from several threads. Every method blocks."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._open: OrderedDict[Key, _Open] = OrderedDict()
        """Those used last stand last."""
        self._lock = threading.Lock()

    @contextmanager
    def borrowed(self, dataset: dict[str, Any]) -> Iterator[Source]:
        """A job's set, for a block. Raises as `Library.reopen` does."""
        key = self._key(dataset)
        with self._lock:
            found = self._open.pop(key, None) or _Open(self._library.reopen(dataset))
            self._open[key] = found
            found.readers += 1
        try:
            yield found.source
        finally:
            with self._lock:
                found.readers -= 1
                self._tidy(MOST)

    def close(self) -> None:
        """Close what nobody reads."""
        with self._lock:
            self._tidy(0)

    def _key(self, dataset: dict[str, Any]) -> Key:
        """Another one for a file that was exchanged meanwhile. An upload is its digest, and its time changes with every use."""
        where = self._library.find(dataset["name"])
        stat = where.path.stat() if where.path is not None else None
        stamp = None if stat is None else (stat.st_ino, stat.st_size, None if where.kind == "upload" else stat.st_mtime_ns)
        return where.name, dataset["prefix"], stamp

    def _tidy(self, most: int) -> None:
        for key in [key for key, one in self._open.items() if not one.readers][: max(0, len(self._open) - most)]:
            self._open.pop(key).source.close()

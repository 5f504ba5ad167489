"""Resident memory of the service, all its processes together, as time goes by."""

import time
from contextlib import suppress
from statistics import median

from loadtest.bench.beside import Beside
from loadtest.bench.processes import resident_mb, tree


class Memory(Beside):
    """Looks every few moments. A moment at which a process is missing has no sample."""

    def __init__(self, pid: int, every_s: float) -> None:
        """`pid`: of the service, whose workers are found."""
        super().__init__(every_s)
        self._pid = pid
        self._whole = len(tree(pid))
        self._began = 0.0
        self._samples: list[tuple[float, float]] = []

    def start(self) -> None:
        self._began = time.monotonic()
        super().start()

    def step(self) -> None:
        pids = tree(self._pid)
        if len(pids) < self._whole:
            return
        with suppress(FileNotFoundError):  # it ended just now
            self._samples.append((time.monotonic() - self._began, resident_mb(pids)))

    def between(self, begin_s: float, end_s: float) -> list[float]:
        """MB, as it was from one second to another."""
        return [mb for at, mb in self._samples if begin_s <= at < end_s]

    def shown(self, begin_s: float, end_s: float) -> str:
        """The median, for a table."""
        found = self.between(begin_s, end_s)
        return f"{median(found):,.0f}" if found else ""

    def told(self) -> str:
        most = f"; {max(mb for _, mb in self._samples):,.0f} at most" if self._samples else ""
        return f"RSS: resident memory of the service's processes together, the median of the time{most}."

"""How much of the machine went to others while something was measured.

/proc/stat counts idle time exactly and busy time by sampling, so busy is taken to be what was not idle.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

TOLERATED = 0.05
"""Share of the machine's capacity that others may take, stolen time included, before a round is spoiled."""


@dataclass(frozen=True)
class Clocks:
    """The machine's clocks at one moment, in seconds; those of /proc/stat are summed over its processors."""

    wall: float
    processors: int
    idle: float
    """Nothing to do, or waiting for a disk."""
    interrupts: float
    """Hard and soft: of the measured traffic for the greater part, so they are nobody else's."""
    stolen: float
    """Taken by the host of a virtual machine for others."""


@dataclass(frozen=True)
class Noise:
    """Shares of the machine's capacity over a while."""

    others: float
    """Processes that are not ours."""
    stolen: float

    @property
    def spoils(self) -> bool:
        """Whether what was measured meanwhile says too little."""
        return self.others + self.stolen > TOLERATED


def read_clocks(path: Path = Path("/proc/stat")) -> Clocks:
    """Look now."""
    return parse(path.read_text(encoding="ascii"), time.monotonic(), os.sysconf("SC_CLK_TCK"))


def parse(text: str, wall: float, ticks_per_second: int) -> Clocks:
    """Read the text of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal guest guest_nice."""
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    values = [int(value) / ticks_per_second for value in lines[0][1:]]
    return Clocks(
        wall=wall,
        processors=len(lines) - 1,
        idle=values[3] + values[4],
        interrupts=values[5] + values[6],
        stolen=values[7] if len(values) > 7 else 0,
    )


def noise_between(before: Clocks, after: Clocks, own_seconds: float) -> Noise:
    """What others took, given the processor time that our own processes took between two looks."""
    capacity = (after.wall - before.wall) * after.processors
    if capacity <= 0:
        return Noise(0, 0)
    stolen = max(0.0, after.stolen - before.stolen)
    free = after.idle - before.idle + after.interrupts - before.interrupts
    others = max(0.0, capacity - free - stolen - own_seconds)
    return Noise(others / capacity, stolen / capacity)

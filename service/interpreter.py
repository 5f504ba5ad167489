"""How CPython is set where threads infer: what slows them down is its lock and its garbage collector."""

import gc
import sys

SWITCH_S = 0.0005
"""How long a thread may keep Python's lock while others wait for it: a tenth of the default, so that the event loop and the lanes
need not wait 5 ms each time, one after the other, while a set is listed."""


def configure() -> None:
    """For when all is loaded. What is here now stays: the collector need not walk through it for every few hundred requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    sys.setswitchinterval(SWITCH_S)

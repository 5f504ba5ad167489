"""Threads that stand back: what must be done some time, but not at a request's expense."""

import os
import sys
import threading
from contextlib import suppress

STEPS = 10
"""Down in the scheduler's favour: a tenth of an ordinary thread's share while both want the processor."""


def step_back() -> None:
    """Lower the calling thread's priority, and that of threads it will make. Only Linux has priorities for threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), STEPS)

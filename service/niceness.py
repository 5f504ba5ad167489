"""Threads that stand back: what must be done some time, but not at a request's expense."""

import os
import sys
import threading
from contextlib import suppress

NOT_URGENT = 10
"""Steps down in the scheduler's favour for who loads a new version, or judges a scoring run: a tenth of an ordinary thread's
share in a full house."""

BIG_IMAGES = 4
"""For who decodes big images: four tenths, since somebody waits for them."""


def step_back(steps: int) -> None:
    """Lower the calling thread's priority, and that of threads it will make. Only Linux has priorities for threads."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + steps)

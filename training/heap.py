"""Freed memory is kept for the next step instead of being given back to the system."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # M_... of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Tell glibc's malloc to hold on to what is freed. Where there is no glibc, nothing happens.

    TensorFlow frees every layer's output in every step. By default malloc maps such large blocks one by one, so that each step
    pays for having the system clear them again: a fifth to a third of the time on two cores.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_ARENA_MAX, 1)  # only the main arena can grow without bounds

"""Threads that allocate from one arena."""

import subprocess
import sys

import pytest

ARENAS = """
import ctypes, threading
from service.memory import share_one_arena
{shared}
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
barrier = threading.Barrier(4)
def allocate():
    barrier.wait()
    libc.malloc(10_000)
threads = [threading.Thread(target=allocate) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, file)
libc.fflush(ctypes.c_void_p(file))
"""


def arenas(shared: str) -> int:
    """How many glibc has after four threads allocated at once (malloc_info(3))."""
    done = subprocess.run([sys.executable, "-c", ARENAS.format(shared=shared)], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's")
def test_threads_share_one_arena_once_told_so() -> None:
    assert arenas("") > 1
    assert arenas("share_one_arena()") == 1


GIVEN_BACK = """
from service.memory import give_back
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
blocks = [bytearray(60_000) for _ in range(1000)]  # smaller than what malloc takes from the system one by one
last = bytearray(60_000)  # above them all: malloc can't shrink its pool by itself
blocks.clear()
before = resident()
{given_back}
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is Linux's")
def test_what_was_freed_goes_back_to_the_system_once_told_so() -> None:
    for given_back, expected in (("", False), ("give_back()", True)):
        code = GIVEN_BACK.format(given_back=given_back)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (int(done.stdout) > 40_000_000) is expected

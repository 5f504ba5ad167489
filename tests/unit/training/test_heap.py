"""Whether freed memory stays with the process: in processes of their own, since a heap never goes back to how it was."""

import platform
import subprocess
import sys

import pytest

from models.workspace import CHECKOUT

PROBE = """
import sys
import numpy as np
from training.heap import keep_freed_memory

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
block = np.ones(64 * 2**20, np.uint8)
full = resident() - before
del block
print(full, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep what is freed")
@pytest.mark.parametrize(("word", "low", "high"), [("keep", 60, 70), ("leave", -4, 10)])
def test_freed_memory_is_kept_once_that_is_asked_for(word: str, low: int, high: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, word], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    full, after = map(int, done.stdout.split())
    assert 60 <= full <= 70, "MiB, while the block is in use"
    assert low <= after <= high, "MiB, once it is freed"

"""How many connections a process may have."""

import subprocess
import sys

import pytest

LIMITS = "import resource as r; from service.descriptors import allow_many; {}; print(*r.getrlimit(r.RLIMIT_NOFILE))"
SOFT = "hard = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (64, hard))"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("raised", [False, True])
def test_as_many_as_the_machine_allows(raised: bool) -> None:
    code = LIMITS.format(f"{SOFT}; allow_many()" if raised else SOFT)
    soft, hard = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert soft == (hard if raised else "64")

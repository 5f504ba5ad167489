"""How many connections a process may have."""

import subprocess
import sys

import pytest

from service.descriptors import ENOUGH, allow_many

LIMITS = "import resource as r; from service.descriptors import allow_many; {}; print(*r.getrlimit(r.RLIMIT_NOFILE))"
SOFT = "hard = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (64, hard))"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("raised", [False, True])
def test_as_many_as_the_machine_allows(raised: bool) -> None:
    code = LIMITS.format(f"{SOFT}; allow_many()" if raised else SOFT)
    soft, hard = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert soft == (hard if raised else "64")


def test_a_limit_that_the_system_does_not_keep_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    import resource

    asked: list[tuple[int, int]] = []

    def refuse(_kind: int, limits: tuple[int, int]) -> None:
        asked.append(limits)
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    allow_many()
    assert asked == [(ENOUGH, resource.RLIM_INFINITY)]
    assert "stays as it is" in caplog.text

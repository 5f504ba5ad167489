"""What the kernel knows of a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench import processes
from loadtest.bench.processes import BenchError, Child, Server, cpu_seconds, environment, peak_memory_mb, tree, wait_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


def test_a_tree_holds_children_and_their_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for pid, parent in {10: 1, 11: 10, 12: 11, 13: 1, 14: 10}.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b (c) S {parent} 0 0\n")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert sorted(tree(10)) == [10, 11, 12, 14]


def test_clocks_and_memory_are_summed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for pid, ticks, kilobytes in ((10, (150, 50), 1000), (11, (20, 5), 500)):
        (tmp_path / str(pid)).mkdir()
        before = " ".join(["S", "1", *"000000000"])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (na me) {before} {ticks[0]} {ticks[1]} 9 9\n")
        (tmp_path / str(pid) / "status").write_text(f"Name:\tx\nVmPeak:\t 9999 kB\nVmHWM:\t {kilobytes} kB\n")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr(os, "sysconf", lambda _name: 100)
    assert cpu_seconds([10, 11, 12]) == pytest.approx(2.25 + 0.36), "with children waited for; one that has ended counts nothing"
    assert peak_memory_mb([10, 11, 12]) == pytest.approx(1.536)


def test_this_very_process() -> None:
    assert cpu_seconds([os.getpid()]) > 0
    assert 10 < peak_memory_mb([os.getpid()]) < 100_000
    assert tree(os.getpid())[0] == os.getpid()


def test_a_child_that_fails_is_an_error() -> None:
    with Child("loadtest.bench.generator", '{"streams": []}') as child, pytest.raises(BenchError, match="ended with status 1"):
        child.wait_for("measuring")


def test_settings_of_the_caller_do_not_reach_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_MAX_QUEUE", "1")
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    assert "PARALLAX_MAX_QUEUE" not in environment()
    assert environment()["PARALLAX_CPUS"] == "2"


def test_a_server_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("port taken\n")
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    process.communicate()
    server = Server("x", process, tmp_path / "log")
    with pytest.raises(BenchError, match=r"ended with status 0 before it listened.*\nport taken"):
        wait_until(lambda: None, server, "listened")


def test_patience_ends(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    server = Server("x", process, tmp_path / "log")
    with pytest.raises(BenchError, match="has not listened within 0 s"):
        wait_until(lambda: None, server, "listened", 0)
    assert server.stop() == -15
    assert process.stdin
    process.stdin.close()

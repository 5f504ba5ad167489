"""Threads follow what the container may use, not what the host has."""

import os
from pathlib import Path

import pytest

from models import machine
from models.errors import UsageError
from tests.support.images import write_folder

HOST = 16


@pytest.fixture(autouse=True)
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of 16 processors and a control group that limits nothing."""
    monkeypatch.delenv("PARALLAX_CPUS", raising=False)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(HOST)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000\n", HOST),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("25000 50000\n", 1),
        ("6400000 100000\n", HOST),
        ("garbage", HOST),
        ("", HOST),
        ("200000", HOST),
    ],
)
def test_cgroup_2_gives_its_quota_rounded_up(cgroup: Path, text: str, cpus: int) -> None:
    (cgroup / "cpu.max").write_text(text)
    assert machine.usable_cpus() == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [("-1", "100000", HOST), ("300000", "100000", 3), ("250000", "100000", 3), ("1000", "100000", 1), ("0", "100000", HOST)],
)
def test_cgroup_1_gives_its_quota_rounded_up(cgroup: Path, quota: str, period: str, cpus: int) -> None:
    write_folder(cgroup / "cpu", {"cpu.cfs_quota_us": f"{quota}\n".encode(), "cpu.cfs_period_us": f"{period}\n".encode()})
    assert machine.usable_cpus() == cpus


def test_cgroup_2_goes_before_cgroup_1(cgroup: Path) -> None:
    write_folder(cgroup / "cpu", {"cpu.cfs_quota_us": b"300000", "cpu.cfs_period_us": b"100000"})
    (cgroup / "cpu.max").write_text("200000 100000")
    assert machine.usable_cpus() == 2


def test_without_a_control_group_the_affinity_counts() -> None:
    assert machine.usable_cpus() == HOST


def test_a_system_that_knows_no_affinity_gives_its_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.usable_cpus() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cpus() == 1


@pytest.mark.parametrize(
    ("asked", "cpus"), [("3", 3), ("64", 64), ("1.5", 2), ("0.25", 1), ("0", 1), (" 4 ", 4), ("", 2), (" ", 2)]
)
def test_parallax_cpus_goes_before_everything(cgroup: Path, monkeypatch: pytest.MonkeyPatch, asked: str, cpus: int) -> None:
    (cgroup / "cpu.max").write_text("200000 100000")
    monkeypatch.setenv("PARALLAX_CPUS", asked)
    assert machine.usable_cpus() == cpus


@pytest.mark.parametrize("asked", ["many", "2 cores", "nan", "inf"])
def test_parallax_cpus_that_is_no_number_is_said_so(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("PARALLAX_CPUS", asked)
    with pytest.raises(UsageError, match=f"PARALLAX_CPUS={asked} is not a number"):
        machine.usable_cpus()


@pytest.mark.parametrize(
    ("models", "name"),
    [
        ([], None),
        (["Tesla T4"], "Tesla T4"),
        (["NVIDIA H100 80GB HBM3"] * 2, "NVIDIA H100 80GB HBM3"),
        (["Tesla T4", "NVIDIA A10"], None),
    ],
)
def test_gpus_are_named_as_their_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[str], name: str | None
) -> None:
    for number, model in enumerate(models):
        write_folder(tmp_path / f"0000:0{number}:00.0", {"information": f"Model: \t\t {model}\nIRQ:   \t\t 27\n".encode()})
    monkeypatch.setattr(machine, "NVIDIA", tmp_path)
    assert machine.gpu() == name

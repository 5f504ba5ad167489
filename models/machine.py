"""What this process may use of the machine: a container's share, not the host's."""

import math
import os
import platform
from pathlib import Path

from models.errors import UsageError

CGROUP = Path("/sys/fs/cgroup")
NVIDIA = Path("/proc/driver/nvidia/gpus")
"""A folder a GPU, as NVIDIA's driver for Linux and its container runtime have it."""


def usable_cpus() -> int:
    """CPUs to plan threads for: `PARALLAX_CPUS`, else the cgroup's quota (v2, then v1) within the affinity mask.

    Raises `UsageError` if `PARALLAX_CPUS` is no number.
    """
    asked = os.environ.get("PARALLAX_CPUS", "").strip()
    if asked:
        try:
            return max(1, math.ceil(float(asked)))
        except (ValueError, OverflowError) as exc:
            raise UsageError(f"PARALLAX_CPUS={asked} is not a number") from exc
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(CGROUP)
    return max(1, min(available, math.ceil(quota))) if quota else available


def processor() -> str:
    """The processor's own name with its widest vector instructions, or what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = facts.get("flags", "").split()
    vectors = next((flag for flag in ("avx512_vnni", "avx512f", "avx2") if flag in flags), "")
    return f"{facts.get('model name', platform.machine())} {vectors}".strip()


def gpu() -> str | None:
    """Name of the GPUs here, such as `Tesla T4`; None if there is none, or they are not all the same."""
    names = set()
    for file in NVIDIA.glob("*/information"):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        names |= {line.partition(":")[2].strip() for line in lines if line.startswith("Model:")}
    return names.pop() if len(names) == 1 else None


def _cgroup_quota(root: Path) -> float | None:
    """CPUs that the cgroup's bandwidth limit allows, None without a limit (kernel documentation, cgroup-v2, cpu.max)."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if quota == "max" or float(quota) <= 0:
        return None
    return float(quota) / float(period)

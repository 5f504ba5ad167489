"""What a figure must be read with: the machine, the versions, the commit, the command. No host names, no paths."""

import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.machine import usable_cpus
from models.workspace import CHECKOUT

CPUINFO = Path("/proc/cpuinfo")


def machine() -> str:
    """Processor, cores, AVX-512, Python and ONNX Runtime in a line."""
    model, flags = _processor(CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else "")
    avx = "with AVX-512" if "avx512f" in flags else "without AVX-512"
    cores = usable_cpus()
    return (
        f"{model or platform.machine()}, {cores} core{'s' * (cores != 1)}, {avx}; {platform.system()}, "
        f"Python {platform.python_version()}, ONNX Runtime {_onnxruntime()}"
    )


def commit(checkout: Path = CHECKOUT) -> str:
    """The commit that was measured, and whether files differ from it, but for docs: figures are written there, one by one."""
    git = shutil.which("git")
    if git is None:
        return "unknown"

    def ask(*words: str) -> str | None:
        done = subprocess.run([git, *words], cwd=checkout, capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip() if done.returncode == 0 else None

    head = ask("rev-parse", "--short=12", "HEAD")
    if head is None:
        return "unknown"
    return f"{head} with uncommitted changes" if ask("status", "--porcelain", "--", ".", ":(exclude)docs") else head


def command(arguments: Sequence[str]) -> str:
    """The command line, of whose paths only the last names are left."""
    shown = []
    for argument in arguments:
        option, equals, value = argument.rpartition("=") if argument.startswith("-") else ("", "", argument)
        shown.append(option + equals + (Path(value).name if Path(value).is_absolute() else value))
    return " ".join(["python -m loadtest.bench", *shown])


def today() -> str:
    """The date, in UTC."""
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _processor(cpuinfo: str) -> tuple[str, set[str]]:
    fields = dict(line.split(":", 1) for line in cpuinfo.partition("\n\n")[0].splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in fields.items()}
    return named.get("model name", ""), set(named.get("flags", named.get("Features", "")).split())


def _onnxruntime() -> str:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "unknown"

"""Child processes: those that measure, and servers, with what the kernel knows of them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from models.errors import ParallaxError
from models.workspace import CHECKOUT

PATIENCE_S = 60.0
"""A bound on every wait for a server's start or end."""
Found = TypeVar("Found")
PROC = Path("/proc")


class BenchError(ParallaxError):
    """A measurement can't be made, or is not worth reporting: the message says why."""


class Child:
    """A process of ours that reads one JSON text and writes events as lines of JSON, the last of them `result`."""

    def __init__(self, module: str, job: str) -> None:
        """Start `python -m module` on a job."""
        self._module = module
        self._process = subprocess.Popen(  # noqa: S603  # a module of ours
            [sys.executable, "-m", module],
            cwd=CHECKOUT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchError(f"{module} has no pipes")
        self._lines = self._process.stdout
        with suppress(BrokenPipeError), self._process.stdin as pipe:  # if it has died, `wait_for` tells
            pipe.write(job)

    @property
    def pid(self) -> int:
        """For the processor's clock."""
        return self._process.pid

    def wait_for(self, event: str) -> Mapping[str, Any]:
        """The next event of this name. Raises `BenchError` if the process ends before it."""
        for line in self._lines:
            found: Mapping[str, Any] = json.loads(line)
            if found["event"] == event:
                return found
        raise BenchError(f"{self._module} ended with status {self._process.wait()} before {event!r}; what it wrote stands above")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """It is gone after the block, whether it had finished or not."""
        if self._process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0 if sys.exc_info()[0] else 5)
        self._process.kill()
        self._process.wait()
        self._lines.close()


@dataclass
class Server:
    """A server under test. Its log goes to a file, so that no full pipe can stop it."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def pid(self) -> int:
        """Of the process that was started; `tree` knows its workers."""
        return self.process.pid

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def fail(self, what: str) -> BenchError:
        """An error that shows the end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return BenchError(f"{self.name} {what}. The end of its log:\n{text[-2000:] or '(nothing)'}")

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not do. Returns the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start_server(name: str, command: Sequence[str], folder: Path, settings: dict[str, str]) -> Server:
    """Start a server in a folder of its own, so that it reads no `.env` of a developer; no `PARALLAX_*` of ours reaches it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603  # a server that the bench names itself
            command, cwd=folder, env=environment() | settings, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    return Server(name, process, log)


@contextmanager
def on_processors(processors: AbstractSet[int]) -> Iterator[None]:
    """What is started in the block runs on these processors alone, if there are any."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment() -> dict[str, str]:
    """The environment of a child: the machine's, without `PARALLAX_*` but for the CPUs to plan for, and with this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_") or name == "PARALLAX_CPUS"}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), kept.get("PYTHONPATH", "")]))}


def tree(pid: int) -> list[int]:
    """A process and all that descend from it. Reads all of /proc: not within measured time."""
    parents: dict[int, int] = {}
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(folder.name)] = int(_fields(int(folder.name))[1])
    found = [pid]
    for one in found:  # it grows while it is walked
        found.extend(child for child, parent in parents.items() if parent == one)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes together, threads and children waited for included. One that has ended counts nothing."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            ticks += sum(map(int, _fields(pid)[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory_mb(pids: Iterable[int]) -> float:
    """Sum of the processes' peak resident memory (VmHWM) in MB of a million bytes, since `forget_peak`."""
    kilobytes = 0
    for pid in pids:
        with suppress(OSError):
            lines = (PROC / str(pid) / "status").read_text(encoding="utf-8").splitlines()
            kilobytes += next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return kilobytes * 1024 / 1e6


def resident_mb(pids: Iterable[int]) -> float:
    """Memory that processes hold now."""
    pages = sum(int((PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def forget_peak(pids: Iterable[int]) -> None:
    """Let VmHWM start anew at what is resident now (proc(5), clear_refs), where the kernel allows it."""
    for pid in pids:
        with suppress(OSError):
            (PROC / str(pid) / "clear_refs").write_text("5")


def wait_until(
    condition: Callable[[], Found | None], server: Server, what: str, seconds: float = PATIENCE_S, pause: float = 0.02
) -> Found:
    """Poll until a condition gives something true, and return it. Raises `BenchError` if the server ends or time is over."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        if not server.running:
            raise server.fail(f"ended with status {server.process.returncode} before it {what}")
        if time.monotonic() > limit:
            raise server.fail(f"has not {what} within {seconds:.0f} s")
        time.sleep(pause)
    return found


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat after the name, which may hold blanks: state, parent, ...; 11 to 14: utime, stime, cutime, cstime."""
    return (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()

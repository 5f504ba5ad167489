"""wrk (github.com/wg/wrk) as the generator of closed loops: in C, so that it leaves the processors to what is measured.

On a machine of two cores that serves and sends, a generator in Python takes a tenth of what it measures. wrk knows nothing of
open loops or of several streams; those are left to `loops`.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loadtest.bench.jobs import Job, Latencies, Outcome, Request
from loadtest.bench.processes import BenchError

SCRIPT = Path(__file__).with_name("wrk.lua")
WARM_UP_S = 1
NEEDLES = 2
"""What a right reply holds, and the request's number."""
PATIENCE_S = 60
"""Beyond the measured time."""


def fits(job: Job) -> bool:
    """Whether wrk is here, and can do this job: one closed loop from begin to end, of whole seconds, that checks two needles."""
    if shutil.which("wrk") is None or len(job.streams) != 1 or job.seconds != int(job.seconds):
        return False
    stream = job.streams[0]
    checked = all(len(request.needles) <= NEEDLES for request in stream.requests)
    return checked and stream.rate is None and not stream.begin_s and stream.end_s is None


def run(job: Job, say: Callable[[str], None]) -> list[Outcome]:
    """Do a job that fits. `say` as in `generator.run`. Raises `BenchError` if wrk fails."""
    (stream,) = job.streams
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.write(written(stream.requests))
        file.flush()
        warm = _load(job, stream.connections, WARM_UP_S, file.name)
        say("measuring")
        measured = _load(job, stream.connections, int(job.seconds), file.name)
        say("measured")
    return [outcome(stream.name, measured, wrong_before=int(warm["wrong"]), sample_before=warm["sample"])]


def run_at(job: Job, rate: float) -> Outcome:
    """Do a job of one stream at a constant rate, on the stream's connections. Raises `BenchError` if wrk is missing or fails."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    (stream,) = job.streams
    with tempfile.NamedTemporaryFile(suffix=".requests") as file:
        file.write(written(stream.requests))
        file.flush()
        _load(job, stream.connections, WARM_UP_S, file.name, f"{rate:g}")
        return outcome(stream.name, _load(job, stream.connections, int(job.seconds), file.name, f"{rate:g}"))


def written(requests: Sequence[Request]) -> bytes:
    """The file that `wrk.lua` reads. The second of two needles ends with the request's number."""
    numbered = requests[0].needles[1:]
    parts = [re.sub(rb"\d+\D*$", b"", numbered[-1]) if numbered else b"", b"\n"]
    for request in requests:
        needle = request.needles[0] if request.needles else b""
        parts += [f"{len(request.data)} {len(needle)}\n".encode(), request.data, needle]
    return b"".join(parts)


def outcome(name: str, said: Mapping[str, str], *, wrong_before: int = 0, sample_before: str = "") -> Outcome:
    """Out of what the script printed."""
    seconds = float(said["seconds"])
    statuses = {key.removeprefix("status"): int(value) for key, value in said.items() if key.startswith("status")}
    fine = statuses.get("200", 0)
    p50, p90, p99, longest = (float(said[key]) for key in ("p50", "p90", "p99", "max"))
    errors = {kind: int(said[kind]) for kind in ("connect", "read", "write", "timeout") if int(said[kind])}
    return Outcome(
        name=name,
        seconds=seconds,
        sent=int(said["requests"]),
        rate=fine / seconds,
        statuses=statuses,
        ok=Latencies(fine, p50, p90, p99, longest) if fine else None,
        others=None,
        wrong=int(said["wrong"]) + wrong_before,
        errors=errors,
        wrong_sample=said["sample"] or sample_before,
        other_sample=said["other"],
    )


def _load(job: Job, connections: int, seconds: int, *arguments: str) -> Mapping[str, str]:
    address = f"http://{job.host}:{job.port}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--script", str(SCRIPT), address, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE_S, check=False)  # noqa: S603
    lines = [line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("bench ")]
    said = {line[0]: line[1] if len(line) > 1 else "" for line in lines}
    if done.returncode or "wrong" not in said:
        raise BenchError(f"wrk failed with status {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return said

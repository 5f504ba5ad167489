"""Runs locust in a process of its own and brings home what it counted."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.images import images, write_zip
from loadtest.plan import Kind, Plan
from loadtest.results import Results

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
CHECKOUT = LOCUSTFILE.parent.parent
CLASSES: Mapping[Kind, str] = {
    "classify": "Classify",
    "compare": "Compare",
    "customvision": "CustomVision",
    "scoring": "Scoring",
    "bad": "BadInput",
}
"""Of `users`, which only locust's own process may import."""
MASTER_PORT = 5557
GRACE_S = 60.0
"""Beyond a test's own time, for locust to start and to end."""
READY_VARIABLE = "LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP"
"""How long locust waits for all workers to be ready. By default a second, after which the clock would start without some."""
Tell = Callable[[Mapping[str, Any]], None]


class LocustError(RuntimeError):
    """Locust did not do its work: the message ends with what it wrote."""


@dataclass(frozen=True)
class Ran:
    """What a test gave."""

    results: Results
    interrupted: bool = False
    """By Ctrl-C: what was counted until then."""


def run(url: str, plan: Plan, backend: str, tell: Tell = lambda _event: None, *, lead: tuple[str, int] | None = None) -> Ran:
    """Run a test to its end; `tell` hears how it goes, every second. Raises `LocustError`.

    `backend`: the one to name where an address must name one. `lead`: address and port to listen on for `plan.processes` that
    send (`join`); None: they are this machine's.
    """
    read, write = os.pipe()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder, os.fdopen(read, encoding="utf-8") as events:
        log = Path(folder) / "log"
        if lead is None and plan.images is None:  # made once, and not in every process, where it would cost the test time
            plan = plan.model_copy(update={"images": f"{folder}/images.zip"})
            write_zip(Path(folder) / "images.zip", images(plan.seed, None))
        command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--headless", "--only-summary", "--host", url]
        command += ["--plan", plan.model_dump_json(), "--backend", backend, "--loglevel", "WARNING", "--exit-code-on-error", "0"]
        if lead:
            command += ["--master", "--master-bind-host", lead[0], "--master-bind-port", str(lead[1])]
            command += ["--expect-workers", str(plan.processes)]
        elif plan.processes > 1:
            command += ["--processes", str(plan.processes)]
        try:
            with log.open("wb") as file:
                process = subprocess.Popen(  # noqa: S603  # locust, on a file of ours
                    [*command, *(CLASSES[kind] for kind in plan.kinds)],
                    cwd=folder,  # locust reads a locust.conf of the working directory
                    env=_environment() | {"PARALLAX_LOADTEST_EVENTS": str(write), READY_VARIABLE: str(GRACE_S)},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    pass_fds=[write],
                )
        finally:
            os.close(write)
        with process:
            try:
                results, interrupted = _follow(process, events, tell)
            finally:
                process.kill()
        if results is None:
            raise LocustError(
                f"locust ended without results. It wrote:\n{log.read_text(errors='replace')[-3000:] or '(nothing)'}"
            )
        return Ran(results, interrupted)


def join(master: str, port: int = MASTER_PORT) -> int:
    """Send for a test that is led elsewhere, until it ends. Returns locust's exit status."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE), "--worker", "--master-host", master]
    command += ["--master-port", str(port), "--loglevel", "WARNING", "--exit-code-on-error", "0"]
    return subprocess.run(command, env=_environment(), check=False).returncode  # noqa: S603


def _follow(process: "subprocess.Popen[bytes]", events: Any, tell: Tell) -> tuple[Results | None, bool]:  # noqa: ANN401
    """Read events to their end. At Ctrl-C locust, which has it too, is given the time to add up."""
    results, interrupted = None, False
    while True:
        try:
            for line in events:
                event = json.loads(line)
                if event["event"] == "results":
                    results = Results.model_validate(event["results"])
                else:
                    tell(event)
            process.wait(GRACE_S)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            continue
        except subprocess.TimeoutExpired:
            pass
        return results, interrupted


def _environment() -> dict[str, str]:
    """Ours, without settings of locust's that would change the test, and with this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), kept.get("PYTHONPATH", "")]))}

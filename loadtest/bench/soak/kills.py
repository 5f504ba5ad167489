"""SIGKILL, to a worker of the service or to the service in the cloud behind one of its backends."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from loadtest.bench.beside import Beside
from loadtest.bench.contenders import start_cloud
from loadtest.bench.processes import PROC, BenchError, Server, tree
from loadtest.bench.soak.plan import Plan

EXCUSED_S = 1.0
"""So soon after a kill a connection that breaks was one of the killed process's."""
PATIENCE_S = 180.0
"""For another worker to take the place of one that was killed: the next is killed only then, or nobody might be left."""
LISTENING = "0A"
"""A socket's state in /proc/net/tcp."""


class Kills:
    """When workers of the service were killed."""

    def __init__(self) -> None:
        self.times: list[float] = []
        """Of `time.monotonic`."""

    def excuse(self, when: float) -> bool:
        """Whether a connection that broke then may have been a killed worker's."""
        return any(0 <= when - killed <= EXCUSED_S for killed in self.times)


class Cloud:
    """The stand-in behind the backend `custom_vision`, and the times at which it was away."""

    def __init__(self, folder: Path, port: int) -> None:
        self.away: list[tuple[float, float | None]] = []
        """From and to, by `time.monotonic`; None: it still is."""
        self._folder = folder
        self._port = port
        self._server = start_cloud(folder, port)

    @property
    def url(self) -> str:
        """Where it listens, when it does."""
        return self._server.url

    def kill(self) -> None:
        """It is gone, as if its machine were."""
        self.away.append((time.monotonic(), None))
        self._server.process.kill()
        self._server.process.wait()

    def come_back(self) -> None:
        """Another takes its place, at the same address."""
        self._server = start_cloud(self._folder, self._port)
        self.away[-1] = (self.away[-1][0], time.monotonic())

    def stop(self) -> None:
        """End it for good."""
        self._server.stop()


class Killer(Beside):
    """A worker, if there are several, and the cloud take turns."""

    def __init__(self, server: Server, cloud: Cloud, kills: Kills, plan: Plan) -> None:
        super().__init__(plan.kill_s)
        self._server = server
        self._cloud = cloud
        self._kills = kills
        self._workers = plan.workers
        self._down_s = plan.down_s
        self._chance = random.Random(plan.seed)  # noqa: S311  # no secret
        self._turn = 0
        self._gaps: list[float] = []
        """How long it took until another worker listened."""

    def step(self) -> None:
        kinds = [self._kill_worker, self._kill_cloud] if self._workers > 1 else [self._kill_cloud]
        kinds[self._turn % len(kinds)]()
        self._turn += 1

    def told(self) -> str:
        killed = f"The service behind `custom_vision` was killed {len(self._cloud.away)} times, for {self._down_s:.0f} s each"
        if self._workers == 1:
            return f"{killed}."
        gap = f"; the longest time until another listened in its place was {max(self._gaps):.1f} s" if self._gaps else ""
        return f"{len(self._kills.times)} times a worker was killed{gap}. {killed}."

    def _kill_worker(self) -> None:
        victim = self._chance.choice(workers_of(self._server.pid))
        killed = time.monotonic()
        self._kills.times.append(killed)
        os.kill(victim, signal.SIGKILL)
        self._await(lambda: victim not in (now := workers_of(self._server.pid)) and len(now) == self._workers)
        self._await(lambda: listeners(self._server.port) == self._workers)  # the victim's are closed since before it was replaced
        self._gaps.append(time.monotonic() - killed)

    def _kill_cloud(self) -> None:
        self._cloud.kill()
        self._over.wait(self._down_s)
        self._cloud.come_back()

    def _await(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > limit:
                raise BenchError(f"no other worker took the place of one that was killed within {PATIENCE_S:.0f} s")
            time.sleep(0.05)


def workers_of(pid: int) -> list[int]:
    """The processes that a supervisor started to serve, without multiprocessing's own helper."""
    found = []
    for child in tree(pid)[1:]:
        with suppress(OSError):  # it ended just now
            if b"spawn_main" in (PROC / str(child) / "cmdline").read_bytes():
                found.append(child)
    return found


def listeners(port: int, table: str = "net/tcp") -> int:
    """Sockets of this machine that listen on a port."""
    lines = [line.split() for line in (PROC / table).read_text(encoding="ascii").splitlines()[1:]]
    return sum(line[1].endswith(f":{port:04X}") and line[3] == LISTENING for line in lines)

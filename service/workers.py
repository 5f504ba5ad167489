"""Several processes behind one port, for machines whose cores one event loop can't feed: `parallax serve --workers N`.

Each worker is the whole service with its share of the processors; the kernel shares new connections out among their
listening sockets (SO_REUSEPORT). The supervisor replaces a worker that dies, and passes a stop on to all.
"""

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeAlias

from prometheus_client import CollectorRegistry, multiprocess

from models.errors import ParallaxError
from service.errors import ConfigurationError
from service.settings import Settings
from service.telemetry import METRICS_FOLDER, serve_metrics

log = logging.getLogger("parallax.workers")

Serve: TypeAlias = Callable[[Settings, "Place"], None]

READY = ""
"""What a worker says when it listens; anything else is why it can't."""

RESTART_AFTER_S = 1.0
"""A worker that dies as soon as it is there must not keep a core busy with its births."""


class Place:
    """Where a worker stands: its port, its part of the machine, the folder that all share, the line to the supervisor."""

    def __init__(self, number: int, port: int, count: int, folder: Path, line: Connection, began: float) -> None:
        """`began`: when the supervisor did, in seconds since the epoch."""
        self.number = number
        self.port = port
        self.count = count
        self.folder = folder
        self.began = began
        self._line = line

    def listen(self, host: str) -> socket.socket:
        """This worker's own socket on the common port. Raises `OSError`."""
        return _bind(host, self.port)

    def ready(self) -> None:
        """Tell the supervisor that this worker listens."""
        self._line.send(READY)

    def failed(self, reason: str) -> None:
        """Tell the supervisor why it can't."""
        self._line.send(reason)


class Supervisor:
    """Starts workers, replaces those that die, stops them all."""

    def __init__(self, settings: Settings, serve: Serve) -> None:
        """`serve` runs in each worker, and is importable by name."""
        self._settings = settings
        self._serve = serve
        self._workers: dict[BaseProcess, tuple[int, Connection]] = {}
        """With its number, and the line on which it reports."""
        self._stopping = False
        self._began = time.time()

    def run(self) -> None:
        """Return when all workers have ended after SIGTERM or SIGINT. Raises `ConfigurationError` if they can't start."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        with tempfile.TemporaryDirectory(prefix="parallax-") as folder, self._reserve() as port, ExitStack() as stack:
            os.environ[METRICS_FOLDER] = folder
            if self._settings.metrics_port is not None:
                merged = CollectorRegistry()
                multiprocess.MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
                stack.callback(serve_metrics(self._settings, merged))
            try:
                for number in range(self._settings.workers):
                    self._start(number, port, Path(folder))
                self._await_all()
                host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
                if not self._stopping:
                    log.info("listening", extra={"url": f"http://{host}:{port}", "workers": len(self._workers)})
                while self._workers:
                    self._tend(port, Path(folder))
            finally:
                self._end()

    def _start(self, number: int, port: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        place = Place(number, port, self._settings.workers, folder, theirs, self._began)
        worker = context.Process(target=_work, args=(self._serve, self._settings, place), name="parallax-worker")
        worker.start()
        theirs.close()
        self._workers[worker] = (number, ours)

    def _await_all(self) -> None:
        for _, line in list(self._workers.values()):
            try:
                reason = line.recv()
            except EOFError:
                reason = "a worker ended as it started; the log has the cause"
            if reason != READY and not self._stopping:
                raise ConfigurationError(reason)

    def _tend(self, port: int, folder: Path) -> None:
        """Wait for something to end."""
        wait([worker.sentinel for worker in self._workers])
        for worker in [worker for worker in self._workers if not worker.is_alive()]:
            number, line = self._workers.pop(worker)
            line.close()
            worker.join()
            multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
            if not self._stopped():
                log.error("a worker died; another takes its place", extra={"pid": worker.pid, "status": worker.exitcode})
                threading.Event().wait(RESTART_AFTER_S)
                self._start(number, port, folder)
                if self._stopped():  # meanwhile
                    self._end()

    def _stopped(self) -> bool:
        return self._stopping  # a signal may have set it since it was last looked at

    def _stop(self, number: int, _frame: object) -> None:
        log.info("stopping", extra={"signal": signal.Signals(number).name, "grace_s": self._settings.grace_s})
        self._stopping = True
        for worker in list(self._workers):
            worker.terminate()

    def _end(self) -> None:
        for worker, (_, line) in self._workers.items():
            worker.terminate()
            worker.join()
            line.close()

    @contextmanager
    def _reserve(self) -> Iterator[int]:
        """Hold the port, so that 0 means the same one for all and nobody else takes it while a worker is replaced."""
        try:
            bound = _bind(self._settings.host, self._settings.port)
        except OSError as exc:
            where = f"{self._settings.host}:{self._settings.port}"
            raise ConfigurationError(f"the service can't listen on {where}: {exc.strerror or exc}") from exc
        with bound:
            yield bound.getsockname()[1]


def _work(serve: Serve, settings: Settings, place: Place) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        serve(settings, place)
    except ParallaxError as exc:
        place.failed(str(exc))
        raise SystemExit(2) from exc


def _end_with_parent() -> None:
    """A supervisor that was killed can't stop its workers; they must not serve on without one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host.strip("[]"), port))
    return bound

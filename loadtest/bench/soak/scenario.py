"""Plays the soak, and makes a sheet of what came of it."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from loadtest.bench.beside import Beside
from loadtest.bench.cloud import KEY, NAME, PROJECT
from loadtest.bench.contenders import free_port
from loadtest.bench.deployer import Deployer
from loadtest.bench.jobs import Outcome, Stream
from loadtest.bench.noise import noise_between, read_clocks
from loadtest.bench.processes import BenchError, Server, cpu_seconds, tree, wait_until
from loadtest.bench.report import Sheet
from loadtest.bench.soak.kills import Cloud, Killer, Kills
from loadtest.bench.soak.memory import Memory
from loadtest.bench.soak.plan import Plan
from loadtest.bench.soak.remote import TIMEOUT_S, RemoteCaller
from loadtest.bench.soak.rude import RudeCallers, kinds_of
from loadtest.bench.soak.scorer import Scorer
from loadtest.bench.soak.slow import SlowCallers
from loadtest.bench.stage import Stage, open_stage
from models.repository import StoredModel

CONNECTIONS = 512
"""More than the queue has places, so that whoever is one too many is told so by the service."""
RETRIES = 3
SAMPLE_S = 2.0
ALLOWED = frozenset({"200", "429"})
"""Of good requests. 429 is no loss: nothing was begun, and the caller is told when to come back."""
HEADER = ("", "requests", "200", "429", "sent again", "lost", "p50 ms", "p99 ms", "RSS MB")


def soak(stored: StoredModel, images: str | None, plan: Plan) -> Sheet:
    """Load at a share of the capacity, with all faults beside it. Raises `BenchError` if a reply was wrong."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        cloud = Cloud(folder, free_port())
        stack.callback(cloud.stop)
        remote = {"endpoint": cloud.url, "key": KEY, "project": PROJECT, "published_name": NAME, "rate": 5000}
        settings: dict[str, Any] = {f"custom_vision__{name}": value for name, value in remote.items()}
        settings |= {"custom_vision__timeout_s": TIMEOUT_S, "body_timeout_s": plan.body_timeout_s, "workers": plan.workers}
        stage = stack.enter_context(open_stage(stored, images, **settings))
        wait_until(lambda: _backend(stage.server, "custom_vision")["state"] == "ready", stage.server, "reached the stand-in")
        return _Soak(stage, plan, cloud).play()


class _Soak:
    """One run."""

    def __init__(self, stage: Stage, plan: Plan, cloud: Cloud) -> None:
        self._stage = stage
        self._plan = plan
        self._name = stage.stored.card.name
        self._kills = Kills()
        self._memory = Memory(stage.server.pid, min(SAMPLE_S, plan.window_s / 10))
        server, known, labels = stage.server, stage.known, stage.stored.card.labels
        address = (server.host, server.port)
        self._deployer = Deployer(stage.store / self._name, stage.stored.card.version, plan.swap_s, 2 * plan.swap_s)
        self._beside: Sequence[Beside] = (
            self._memory,
            Killer(server, cloud, self._kills, plan),
            RemoteCaller(server.url, known[0].data, cloud, self._kills, plan),
            Scorer(server.url, self._name, labels, known, self._kills, plan),
            RudeCallers(address, kinds_of(self._name, known[0].data), self._kills, plan.seed),
            SlowCallers(address, self._name, self._kills, plan.body_timeout_s),
        )
        self._began = 0.0
        self._others = 0.0

    def play(self) -> Sheet:
        """Measure the capacity, then run it all."""
        full = self._stage.capacity().rate
        rate = self._plan.load * full
        outcomes = self._stage.play(self._plan.seconds, self._streams(rate), self._all())
        unforeseen = [*self._afterwards(), *(what for one in self._beside for what in one.unforeseen), *self._breaks(outcomes)]
        begin, length, end = 0.0, self._plan.window_s, self._plan.seconds
        spans = {"first": (begin, length), "middle": (length, end - length), "last": (end - length, end)}
        rows = [self._row(f"{name}, {_time(to - since)}", outcomes[name], since, to) for name, (since, to) in spans.items()]
        notes = [self._told(full), self._versions(), *(one.told() for one in self._beside), f"Unforeseen: {_summed(unforeseen)}."]
        if short := sum(outcome.not_sent for outcome in outcomes.values()):
            notes.insert(1, f"{short:,} requests fell due while {CONNECTIONS} were under way, and were not sent.")
        processes = f"{self._plan.workers} worker{'s' * (self._plan.workers > 1)}"
        return Sheet(f"Soak, {self._name}, {processes}", HEADER, rows, notes, unforeseen)

    def _streams(self, rate: float) -> list[Stream]:
        requests = self._stage.ask()
        window, end = self._plan.window_s, self._plan.seconds
        times = {"first": (0.0, window), "middle": (window, end - window), "last": (end - window, end)}
        return [
            Stream(name, requests, CONNECTIONS, rate=rate, begin_s=since, end_s=to, retries=RETRIES)
            for name, (since, to) in times.items()
        ]

    @contextmanager
    def _all(self) -> Iterator[None]:
        """Everything that goes on beside the load."""
        self._began = time.monotonic()
        before, spent = read_clocks(), self._spent()
        with ExitStack() as stack:
            self._deployer.start()
            stack.callback(self._deployer.stop)
            for one in self._beside:
                one.start()
                stack.callback(one.stop)
            yield
            self._others = noise_between(before, read_clocks(), self._spent() - spent).others

    def _spent(self) -> float:
        """Processor time of all that is ours: this process, the service, the generator, the stand-in."""
        return cpu_seconds(tree(os.getpid()))

    def _afterwards(self) -> Iterator[str]:
        """What is not as it must be when all is over."""
        server = self._stage.server
        try:
            wait_until(lambda: self._served() == self._deployer.newest, server, "served the newest sound version")
            wait_until(lambda: not _backend(server, self._name)["queue"]["held"], server, "given every place back")
        except BenchError as exc:
            yield str(exc)
        for record in _records(server.log):
            if record.get("level") in (None, "ERROR", "CRITICAL") and not _brought_about(record):
                yield f"in the log: {json.dumps(record)[:300]}"

    def _served(self) -> str:
        return str(_backend(self._stage.server, self._name)["version"])

    def _breaks(self, outcomes: Mapping[str, Outcome]) -> Iterator[str]:
        for outcome in outcomes.values():
            for again in outcome.again_s:
                if not self._kills.excuse(self._began + again):
                    yield f"a connection broke {again:.1f} s into the soak, when nothing was killed"
            for kind, count in _lost(outcome).items():
                yield from [f"good requests: {kind}; {outcome.other_sample}"] * count

    def _told(self, full: float) -> str:
        length = _time(self._plan.seconds)
        return (
            f"{self._plan.load:.0%} of {full:,.0f} requests/s, as measured first, for {length}; every label was checked. "
            "Sent again: by the client, when its connection broke. Lost: unanswered in the end, or with an error. "
            f"Others took {self._others:.0%} of the machine. Seed {self._plan.seed}."
        )

    def _versions(self) -> str:
        records = _records(self._stage.server.log)
        ready, refused = (
            len({record["version"] for record in records if record.get("message") == message and record["backend"] == self._name})
            for message in ("backend ready", "version refused")
        )
        made = self._deployer.made
        return (
            f"Versions: {made} were put into the store, {ready - 1} took over, {refused} corrupt ones were refused; "
            f"{self._deployer.newest} serves in the end, the newest sound one."
        )

    def _row(self, title: str, outcome: Outcome, since: float, to: float) -> list[str]:
        fine = outcome.ok
        lost = sum(_lost(outcome).values())
        counts = [outcome.sent, outcome.statuses.get("200", 0), outcome.statuses.get("429", 0), len(outcome.again_s), lost]
        times = [f"{fine.p50:.1f}", f"{fine.p99:.1f}"] if fine else ["", ""]
        return [title, *(f"{count:,}" for count in counts), *times, self._memory.shown(since, to)]


def _brought_about(record: Mapping[str, Any]) -> bool:
    """Whether a soak leads to this error in the log: a worker that was killed, or a 502 while the service elsewhere is away."""
    message = record.get("message")
    return message == "a worker died; another takes its place" or (message == "request" and record.get("status") == 502)


def _lost(outcome: Outcome) -> Counter[str]:
    """Good requests that got no answer, or another one than they may get."""
    lost = Counter({status: count for status, count in outcome.statuses.items() if status not in ALLOWED})
    lost.update(outcome.errors)
    if outcome.unanswered:
        lost["unanswered"] = outcome.unanswered
    return lost


def _backend(server: Server, name: str) -> dict[str, Any]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        found: dict[str, Any] = client.get(f"{server.url}/v1/backends/{name}").raise_for_status().json()["backends"][0]
    return found


def _time(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def _summed(unforeseen: Sequence[str]) -> str:
    """A few of them, each kind once."""
    if not unforeseen:
        return "nothing"
    return "; ".join(f"{count} x {what}" for what, count in Counter(unforeseen).most_common(5))


def _records(log: Path) -> list[dict[str, Any]]:
    """A line that is no JSON, such as one of a traceback, is a record without a level."""
    records = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        records.append(record if isinstance(record, dict) else {"text": line})
    return records

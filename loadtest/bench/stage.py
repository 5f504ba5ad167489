"""Where a scenario plays: Parallax on one backend, and streams of requests to it."""

import os
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.bench.contenders import ask_parallax, copy_version, known_of, parallax
from loadtest.bench.images import Known, read_pictures
from loadtest.bench.jobs import Job, Latencies, Outcome, Request, Stream
from loadtest.bench.measure import GENERATOR
from loadtest.bench.processes import BenchError, Child, Server, on_processors
from models.repository import StoredModel

KEYS = {"polite": "polite-key-of-16-characters", "noisy": "noisy-key-of-16-characters"}
CONNECTIONS = 32
CAPACITY_S = 6.0
STEP_S = 8.0
"""Of a scenario's steps."""


@dataclass(frozen=True)
class Stage:
    """A server with what a scenario needs to load it."""

    server: Server
    stored: StoredModel
    store: Path
    known: Sequence[Known]
    senders: AbstractSet[int] = frozenset()
    """Processors of the generator, if it has some of its own."""

    def ask(self, caller: str = "", **headers: str) -> list[Request]:
        """Small images, checked."""
        return ask_parallax(self.stored.card.name, self.known, **({"X-API-Key": KEYS[caller]} if caller else {}), **headers)

    def play(
        self, seconds: float, streams: Sequence[Stream], beside: AbstractContextManager[object] | None = None
    ) -> dict[str, Outcome]:
        """Run streams and tell of each by its name. Raises `BenchError` if a reply was wrong.

        `beside`: entered when the measured time begins, left when it ends.
        """
        job = Job(self.server.host, self.server.port, seconds, streams)
        with on_processors(self.senders):
            generator = Child(GENERATOR, job.to_json())
        with generator as child:
            if beside is not None:
                child.wait_for("measuring")
                with beside:
                    child.wait_for("measured")
            outcomes = [Outcome.from_values(values) for values in child.wait_for("result")["outcomes"]]
        wrong = [outcome.wrong_sample for outcome in outcomes if outcome.wrong]
        if wrong:
            raise BenchError(f"a reply was wrong: {wrong[0]}")
        return {outcome.name: outcome for outcome in outcomes}

    def capacity(self, caller: str = "") -> Outcome:
        """As much as it does for callers who wait for each reply."""
        return self.play(CAPACITY_S, [Stream("full", self.ask(caller), CONNECTIONS)])["full"]


@contextmanager
def open_stage(
    stored: StoredModel, images: str | None, *, keyed: bool = False, apart: bool = False, **settings: object
) -> Iterator[Stage]:
    """Parallax on one backend. `keyed`: callers are told apart by their keys. `settings`: as for `parallax`.

    `apart`: one processor is the generator's and the others are the service's, if there are several: what refused requests cost
    their sender is then not taken from who answers the others.
    """
    processors = sorted(os.sched_getaffinity(0)) if apart else []
    senders = frozenset(processors[-1:]) if len(processors) > 1 else frozenset()
    known = known_of(stored, read_pictures(images).files)
    if keyed:
        settings["api_keys"] = ",".join(f"{name}:{key}" for name, key in KEYS.items())
    with TemporaryDirectory(prefix="bench-") as folder:
        store = copy_version(stored, Path(folder) / "store")
        with ExitStack() as stack:
            with on_processors(frozenset(processors[:-1])):
                key = KEYS["polite"] if keyed else ""
                server = stack.enter_context(parallax(store, Path(folder) / "parallax", key=key, **settings))
            yield Stage(server, stored, store, known, senders)


def figures(outcome: Outcome) -> list[str]:
    """Requests/s, p50, p99 in milliseconds, and what was not answered with 200."""
    fine = ok(outcome)
    lost = [f"{outcome.not_sent} not sent"] if outcome.not_sent else []
    lost += [f"{outcome.unanswered} unanswered"] if outcome.unanswered else []
    lost += [f"{count} {kind}" for kind, count in outcome.errors.items()]
    refused = ", ".join([*(f"{count} x {status}" for status, count in outcome.statuses.items() if status != "200"), *lost])
    return [f"{outcome.rate:,.0f}", f"{fine.p50:.1f}", f"{fine.p99:.1f}", refused or "none"]


def ok(outcome: Outcome) -> Latencies:
    """Of the replies with 200. Raises `BenchError` if there was none."""
    if outcome.ok is None:
        raise BenchError(f"{outcome.name!r} never got a 200: {outcome.other_sample or dict(outcome.errors)}")
    return outcome.ok

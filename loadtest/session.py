"""A test as one locust process knows it: who is to send what when, and what came of it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import gevent

from loadtest.asks import Ask, asks
from loadtest.histogram import Histogram
from loadtest.images import images
from loadtest.pacing import Pacer, Turn
from loadtest.plan import Kind, Plan
from loadtest.results import OUTSIDE, SERVER, STAGES, Results, Step, Tally
from loadtest.shapes import arrivals

WINDOW_S = 1.0
"""Over so long the processor's clock is read at a time."""


class Session:
    """`name` tells this process from the others. One that has no callers of its own only adds up what the others report."""

    def __init__(self, plan: Plan, name: str, backend: str) -> None:
        """`backend`: the one to name where an address must name one."""
        self.plan = plan
        self.asks: Mapping[Kind, Sequence[Ask]] = {}
        """What each kind sends, over and over."""
        self.results = Results()
        """Counted and not yet taken."""
        self.total = Results()
        self._name = name
        self._zero: float | None = None
        self._pacers: dict[Kind, Pacer] = {}
        self._backend = backend

    def prepare(self) -> None:
        """Make what is sent, before the clock starts. Raises `ImagesError`."""
        pictures = images(self.plan.seed, self.plan.images, lambda: gevent.sleep(0))  # a worker owes its master heartbeats
        self.asks = {kind: asks(kind, self.plan, pictures, self._backend) for kind in self.plan.kinds}

    def begin(self, callers: Mapping[Kind, int], *, sends: bool) -> None:
        """Start the clock, now that this process has these callers; in an open loop, what it sends is its share by them."""
        if self._zero is not None:
            return
        self._zero = time.perf_counter()
        if sends:
            gevent.spawn(self._watch)
        if self.plan.rate is None:
            return
        for kind, count in callers.items():
            rate = self.plan.rate_of(kind) * count / self.plan.callers(kind)
            seed = f"{self.plan.seed} {kind} {self._name if self.plan.processes > 1 else ''}"
            dues = arrivals(self.plan.warm_curve, rate, seed, poisson=self.plan.poisson)
            self._pacers[kind] = Pacer(dues, self._late)
            gevent.spawn(self._pace, kind, self._pacers[kind], self._zero)

    @property
    def elapsed(self) -> float | None:
        """Seconds of the curve with its warm-up; None before it begins."""
        return None if self._zero is None else time.perf_counter() - self._zero

    @property
    def over(self) -> bool:
        """Whether nothing falls due any more."""
        return (self.elapsed or 0) >= self.plan.warm_curve.seconds

    def turn(self, kind: Kind) -> Turn | None:
        """Wait for the next request of a kind; None at the end."""
        while self._zero is None or (self.plan.rate is not None and kind not in self._pacers):
            gevent.sleep(0.01)
        if self.plan.rate is not None:
            return self._pacers[kind].turn()
        return None if self.over else Turn(self.elapsed or 0.0, time.perf_counter())

    def sent(self, kind: Kind, turn: Turn) -> None:
        """A request goes out."""
        if self._counts(turn.due_s):
            self._tally(kind).sent += 1

    def answered(self, kind: Kind, turn: Turn, fate: str, *, began: float, ended: float, stages: Mapping[str, float]) -> None:
        """What became of it: `ok`, `shed`, or why it failed. Times by `time.perf_counter`, stages in milliseconds."""
        if not self._counts(turn.due_s):
            return
        tally, step = self._tally(kind), self._step(turn.due_s)
        if self.plan.rate is not None and not turn.waited:
            self._late(turn.due_s, 1000 * max(0.0, began - turn.due))  # it counts from `began`: locust's part is told here
        if fate == "shed":
            tally.shed += 1
            step.shed += 1
            return
        if fate != "ok":
            tally.fail(fate)
            step.failed += 1
            return
        tally.ok += 1
        step.ok += 1
        took, reply = 1000 * (ended - turn.counts_from(began)), 1000 * (ended - began)
        tally.took.add(took)
        step.took.add(took)
        tally.reply.add(reply)
        if "total" in stages:
            for stage in STAGES:
                tally.time(stage, stages.get(stage, 0.0))
            tally.time(SERVER, stages["total"])
            tally.time(OUTSIDE, reply - stages["total"])

    def take(self) -> dict[str, Any]:
        """What was counted since the last time, for the process that adds up."""
        taken, self.results = self.results, Results()
        return taken.model_dump(mode="json")

    def add(self, taken: Mapping[str, Any]) -> None:
        """Add up what a process, this one included, has taken."""
        self.total.merge(Results.model_validate(taken))

    def _counts(self, due_s: float) -> bool:
        return due_s >= self.plan.warm_up_s

    def _tally(self, kind: Kind) -> Tally:
        return self.results.kinds.setdefault(kind, Tally())

    def _step(self, due_s: float) -> Step:
        return self.results.steps.setdefault(int((due_s - self.plan.warm_up_s) // self.plan.step_s), Step())

    def _late(self, due_s: float, milliseconds: float) -> None:
        if self._counts(due_s):
            self.results.lag.add(milliseconds)

    def _pace(self, kind: Kind, pacer: Pacer, zero: float) -> None:
        left = pacer.run(zero)
        self._tally(kind).unsent += sum(self._counts(turn.due_s) for turn in left)

    def _watch(self) -> None:
        """Read the processor's clock, window by window: a busy locust measures itself."""
        gevent.sleep(self.plan.warm_up_s)
        while not self.over:
            wall, cpu = time.perf_counter(), time.process_time()
            gevent.sleep(WINDOW_S)
            share = (time.process_time() - cpu) / (time.perf_counter() - wall)
            self.results.busy.setdefault(self._name, Histogram()).add(100 * share)

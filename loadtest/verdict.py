"""Whether a test was passed, and whether its figures say anything about the server at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from loadtest.plan import Plan
from loadtest.results import SERVER, Results
from loadtest.thresholds import Line, Thresholds

BUSY_PERCENT = 90.0
"""Of one core: a locust process above it measures itself. It is locust's own bound too."""
LATE_MS = 25.0
"""Locust's own lateness, at the 99th percentile, above which what it measures is in good part its own."""
LEAST_SENT = 0.95
"""Of what was asked for."""
IDLE_SHARE = 0.25
"""A server that accounts for less than this of a reply's time was not what was waited for."""


class Exit(IntEnum):
    """Exit statuses."""

    PASSED = 0
    MISSED = 1
    USAGE = 2
    """What was asked can't be done, or the server can't be reached."""
    VOID = 3
    """Locust was the bottleneck: measured again, from more processes or machines, the result may be another."""
    INTERRUPTED = 130


@dataclass(frozen=True)
class Verdict:
    """Of one test."""

    lines: Sequence[Line]
    doubts: Sequence[str]
    """Why the figures are not the server's; none if they are."""
    interrupted: bool = False

    @property
    def exit(self) -> Exit:
        """A test that says nothing of the server neither passes nor fails it."""
        if self.interrupted:
            return Exit.INTERRUPTED
        if self.doubts:
            return Exit.VOID
        return Exit.PASSED if all(line.kept for line in self.lines) else Exit.MISSED

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        missed = sum(not line.kept for line in self.lines)
        if self.interrupted:
            return "Interrupted: no verdict."
        if self.doubts:
            return "Does not count: locust was the bottleneck, or could not do what was asked."
        if missed:
            return f"Failed: {missed} of {len(self.lines)} thresholds missed."
        return f"Passed: all {len(self.lines)} thresholds kept."


def judge(plan: Plan, results: Results, thresholds: Thresholds, *, interrupted: bool = False) -> Verdict:
    """Hold what came of a test against its thresholds, and against what a test can say."""
    tallies = {kind: results.kinds[kind] for kind in plan.kinds if kind in results.kinds}
    lines = [line for kind, tally in tallies.items() for line in thresholds.judge(kind, tally, plan.seconds)]
    return Verdict(lines, doubts(plan, results), interrupted)


def doubts(plan: Plan, results: Results) -> list[str]:
    """Every sign that locust, and not the server, set the figures."""
    found = []
    total = results.all
    if not total.due:
        return ["nothing was sent within the measured time: is it too short?"]
    if len(results.busy) < plan.processes:
        found.append(f"only {len(results.busy)} of {plan.processes} locust processes reported")
    for name, histogram in sorted(results.busy.items()):
        busy = histogram.percentile(0.9) or 0.0
        if busy > BUSY_PERCENT:
            found.append(f"{name} used {busy:.0f} % of its core: spread the load with --processes, or over more machines")
    if plan.rate is None:
        return found
    late = results.lag.percentile(0.99) or 0.0
    if late > LATE_MS:
        found.append(f"locust itself was up to {late:.0f} ms late (p99): it had too little of a processor")
    expected = plan.expected()
    if expected >= 20 and total.due < LEAST_SENT * expected:  # of fewer, chance alone takes a twentieth
        found.append(f"locust handed out {total.due:,} requests of {expected:,.0f}")
    if total.sent < LEAST_SENT * total.due and (idle := _idle(results)):
        found.append(idle)
    return found


def _idle(results: Results) -> str:
    """Words if callers were all busy although the server was not, by its own account."""
    for tally in results.kinds.values():
        server, reply = (tally.stages.get(SERVER), tally.reply)
        if server is None:
            continue
        own, whole = server.percentile(0.5) or 0.0, reply.percentile(0.5) or 0.0
        if own < IDLE_SHARE * whole:
            return (
                f"{tally.unsent:,} requests found no free caller, yet the server worked on one for {own:.1f} of {whole:.1f} ms: "
                "raise --users, or look at the network between"
            )
    return ""

"""What a test found out, as tables: for the terminal and for the report alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.histogram import Histogram
from loadtest.plan import Plan
from loadtest.results import OUTSIDE, SERVER, STAGES, Results
from loadtest.verdict import Verdict

MOST_REASONS = 12
SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Table:
    """Rows of text; all columns but the first are figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def tables(plan: Plan, results: Results, verdict: Verdict) -> list[Table]:
    """All that there are, the verdict's first."""
    found = [_thresholds(verdict), _kinds(plan, results)]
    if stages := _stages(results):
        found.append(stages)
    if reasons := _failures(results):
        found.append(reasons)
    found.append(_locust(plan, results))
    return found


def milliseconds(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _percentiles(histogram: Histogram) -> list[str]:
    return [milliseconds(histogram.percentile(share)) for share in SHARES]


def _thresholds(verdict: Verdict) -> Table:
    rows = []
    for line in verdict.lines:
        ratio = line.name.endswith("_ratio")
        shown = [f"{value:.2%}" if ratio else milliseconds(value) for value in (line.measured, line.limit) if value is not None]
        measured, limit = shown if len(shown) == 2 else ("-", shown[0])
        rows.append([line.kind, line.name, measured, limit, "kept" if line.kept else "MISSED"])
    return Table("Thresholds", ("users", "threshold", "measured", "limit", ""), rows)


def _kinds(plan: Plan, results: Results) -> Table:
    rows = []
    tallies = {kind: results.kinds[kind] for kind in plan.kinds if kind in results.kinds}
    for name, tally in [*tallies.items(), *([("all", results.all)] if len(tallies) > 1 else [])]:
        latencies = _percentiles(tally.took)
        counts = [f"{count:,}" for count in (tally.ok, tally.shed, tally.failed, tally.unsent)]
        rows.append([name, f"{tally.due:,}", *counts, f"{tally.ok / plan.seconds:,.1f}", *latencies])
    note = (
        "ok: answered as it should be, bad input with the problem that fits it. shed: 429. unsent: no caller was free. "
        "Latencies in ms, of those that are ok, "
        + ("from when a request fell due." if plan.rate else "from when it was sent: what callers who wait see.")
    )
    return Table("Requests", ("users", "due", "ok", "shed", "failed", "unsent", "ok/s", "p50", "p95", "p99"), rows, note)


def _stages(results: Results) -> Table | None:
    stages = results.kinds["classify"].stages if "classify" in results.kinds else {}
    if not stages:
        return None
    rows = [[name, *_percentiles(stages[name])] for name in (*STAGES, SERVER, OUTSIDE) if name in stages]
    rows.append(["reply, total", *_percentiles(results.kinds["classify"].reply)])
    note = "By the service's Server-Timing. Percentiles of stages do not add up: they are not those of the same requests."
    return Table("Where classify's time goes, ms", ("stage", "p50", "p95", "p99"), rows, note)


def _failures(results: Results) -> Table | None:
    found = [(count, kind, reason) for kind, tally in results.kinds.items() for reason, count in tally.failures.items()]
    found += [(tally.unanswered, kind, "no reply by the end") for kind, tally in results.kinds.items() if tally.unanswered]
    if not found:
        return None
    rows = [[f"{kind}: {reason}", f"{count:,}"] for count, kind, reason in sorted(found, reverse=True)[:MOST_REASONS]]
    return Table("Failures", ("what", "count"), rows)


def _locust(plan: Plan, results: Results) -> Table:
    rows = [
        [f"{name}, % of a core (p90)", f"{histogram.percentile(0.9) or 0:.0f}"]
        for name, histogram in sorted(results.busy.items())
    ]
    if plan.rate is not None:
        rows.append(["late by itself, ms (p99)", milliseconds(results.lag.percentile(0.99))])
        rows.append(["handed out / expected", f"{results.all.due:,} / {plan.expected():,.0f}"])
    return Table("Locust itself", ("", ""), rows)

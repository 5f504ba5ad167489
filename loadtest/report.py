"""The report: one HTML file that asks nothing of anybody and runs nothing, the verdict on top."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from loadtest.plan import Plan
from loadtest.results import Results, Step
from loadtest.tables import milliseconds, tables
from loadtest.verdict import Verdict

HERE = Path(__file__).parent
WIDTH, HEIGHT = 900.0, 180.0
Line = tuple[str, str, Sequence[float]]
"""Name, CSS class, a value for each step."""


def write_report(path: Path, url: str, plan: Plan, results: Results, verdict: Verdict, notes: Sequence[str] = ()) -> None:
    """Raises `OSError` if it can't be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(url, plan, results, verdict, notes), encoding="utf-8")


def write_json(path: Path, plan: Plan, results: Results, verdict: Verdict) -> None:
    """The same for programs. Raises `OSError` if it can't be written."""
    whole = {
        "verdict": verdict.sentence,
        "exit_status": int(verdict.exit),
        "doubts": list(verdict.doubts),
        "thresholds": [asdict(line) for line in verdict.lines],
        "plan": plan.model_dump(mode="json"),
        "results": results.model_dump(mode="json"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def render(url: str, plan: Plan, results: Results, verdict: Verdict, notes: Sequence[str] = ()) -> str:
    """The file's text; everything in it is escaped."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    count = max([*results.steps, 0]) + 1
    steps = [results.steps.get(number, Step()) for number in range(count)]
    return environment.get_template("report.html").render(
        url=url,
        plan=plan,
        verdict=verdict,
        passed=verdict.exit == 0,
        notes=notes,
        tables=tables(plan, results, verdict),
        written=datetime.now(UTC),
        load=f"{plan.rate:g} requests/s" if plan.rate else f"{plan.users} callers",
        charts=charts(plan, steps),
        width=WIDTH,
        height=HEIGHT,
    )


def charts(plan: Plan, steps: Sequence[Step]) -> list[dict[str, object]]:
    """Points of lines, scaled to the box of a chart."""
    rates: list[Line] = [("ok", "ok", [step.ok / plan.step_s for step in steps])]
    if any(step.shed for step in steps):
        rates.append(("shed", "shed", [step.shed / plan.step_s for step in steps]))
    if any(step.failed for step in steps):
        rates.append(("failed", "failed", [step.failed / plan.step_s for step in steps]))
    latencies: list[Line] = [
        (name, name, [step.took.percentile(share) or 0.0 for step in steps]) for name, share in (("p50", 0.5), ("p99", 0.99))
    ]
    return [_chart("Requests a second, by when they fell due", rates), _chart("Latency, ms", latencies)]


def _chart(title: str, lines: Sequence[Line]) -> dict[str, object]:
    top = max([value for _, _, values in lines for value in values] + [1e-9])
    drawn = []
    for name, kind, values in lines:
        across = WIDTH / max(1, len(values) - 1)
        points = " ".join(f"{number * across:.1f},{HEIGHT * (1 - value / top):.1f}" for number, value in enumerate(values))
        drawn.append({"name": name, "kind": kind, "points": points})
    return {"title": title, "top": milliseconds(top), "lines": drawn}

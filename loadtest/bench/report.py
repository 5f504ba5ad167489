"""Figures out of rounds, and the sheet that shows them, in a terminal and in Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from loadtest.bench.contenders import FLOOR, PARALLAX, PLAIN
from loadtest.bench.measure import Disturbances, Measured
from loadtest.bench.noise import TOLERATED
from loadtest.bench.speed import Comparison

HEADER = ("", "connections", "requests/s", "range", "p50 ms", "p99 ms", "CPU µs", "MB", "of limit", "of plain")


@dataclass(frozen=True)
class Sheet:
    """A table with a title and what to say below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    unforeseen: Sequence[str] = ()
    """What must not be: promises that were not kept."""

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(*self.header, title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in self.rows:
            table.add_row(*row)
        console.print(table)
        for note in self.notes:
            console.print(note, highlight=False)
        console.print()

    def markdown(self) -> str:
        """The same for a file."""
        lines = [
            f"### {self.title}",
            "",
            "| " + " | ".join(self.header) + " |",
            "|---|" + "---:|" * (len(self.header) - 1),
            *("| " + " | ".join(row) + " |" for row in self.rows),
            "",
            *(line for note in self.notes for line in (note, "")),
        ]
        return "\n".join(lines)


def sheet_of(comparison: Comparison) -> Sheet:
    """One backend's table: medians over the rounds, ratios of medians."""
    limit = median(one.limit.rate for one in comparison.limits)
    plan = _plan(comparison)
    spread = spread_of([one.limit.rate for one in comparison.limits])
    rows = [
        [
            "in-process limit",
            "",
            f"{limit:,.0f}",
            spread,
            f"{_alone(comparison):.2f}",
            "",
            f"{median(one.limit.cpu_us for one in comparison.limits):,.0f}",
            f"{max(one.watched.peak_mb for one in comparison.limits):,.0f}",
            "",
            "",
        ]
    ]
    connections = sorted({number for _, number in comparison.rounds})
    rows += [
        _row(comparison, name, number, limit)
        for name in (PARALLAX, PLAIN, FLOOR)
        for number in connections
        if (name, number) in comparison.rounds
    ]
    notes = [
        "Range: of requests/s over the rounds. CPU: processor time of the server for each request. MB: its peak resident memory.",
        f"Limit: {plan} of those tried; its p50 is that of one image alone. Images: {comparison.pictures}.",
    ]
    if 1 in connections:
        notes.append(_overhead(comparison))
    return Sheet(f"{comparison.backend}, {comparison.precision}", HEADER, rows, notes + _failures(comparison))


def noise_note(disturbances: Disturbances) -> str:
    """How much others disturbed."""
    text = f"{disturbances.spoiled} of {disturbances.measured} rounds were spoiled"
    if not disturbances.spoiled:
        return f"{text} by other load on the machine."
    repeated = disturbances.spoiled - disturbances.kept
    text += f" (others or the machine's host took more than {TOLERATED:.0%} of it); {repeated} of them were measured again"
    return f"{text}, {disturbances.kept} kept for want of a quiet attempt." if disturbances.kept else f"{text}."


def replace_section(text: str, name: str, content: str) -> str:
    """Put content between the markers of a section, or markers with it at the end of a text that has none."""
    begin, end = f"<!-- bench: {name} -->", "<!-- end of bench -->"
    section = f"{begin}\n{content.strip()}\n{end}"
    before, found, rest = text.partition(begin)
    if not found:
        return f"{text.rstrip()}\n\n{section}\n".lstrip()
    inside, closed, after = rest.partition(end)
    if not closed or "<!-- bench: " in inside:
        raise ValueError(f"{begin} has no {end}")
    return before + section + after


def write_section(path: Path, name: str, content: str) -> None:
    """Write a section into a file, which is made if it is not there."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Benchmarks\n"
    path.write_text(replace_section(text, name, content), encoding="utf-8")


def _row(comparison: Comparison, name: str, connections: int, limit: float) -> list[str]:
    rounds = comparison.rounds[name, connections]
    rate = _rate(comparison, name, connections)
    plain = _rate(comparison, PLAIN, connections)
    ours = name == PARALLAX
    return [
        name,
        str(connections),
        f"{rate:,.0f}",
        spread_of([_of(one) for one in rounds]),
        _latency([one.outcomes[0].ok.p50 for one in rounds if one.outcomes[0].ok]),
        _latency([one.outcomes[0].ok.p99 for one in rounds if one.outcomes[0].ok]),
        f"{median(one.cpu_us for one in rounds):,.0f}",
        f"{max(one.watched.peak_mb for one in rounds):,.0f}",
        f"{rate / limit:.0%}" if name != FLOOR else "",
        f"{rate / plain:.2f} x" if ours and plain else "",
    ]


def _plan(comparison: Comparison) -> str:
    plan = comparison.plan
    return f"{_count(plan.lanes, 'lane')}, batches of {plan.batch_size}, {_count(plan.threads, 'thread')} each, the best"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def _overhead(comparison: Comparison) -> str:
    ours, floor = (_p50(comparison, name, 1) for name in (PARALLAX, FLOOR))
    alone = _alone(comparison)
    more = ours - alone
    by = f"{more:.2f} ms more" if more >= 0 else f"{-more:.2f} ms less, for who is alone gets all processors"
    return (
        f"At one connection Parallax's p50 is {ours:.2f} ms, decoding and inference alone take {alone:.2f} ms: "
        f"{by}. The floor's p50, a server that does nothing, is {floor:.2f} ms."
    )


def _failures(comparison: Comparison) -> list[str]:
    notes = []
    for (name, connections), rounds in comparison.rounds.items():
        outcomes = [outcome for one in rounds for outcome in one.outcomes]
        others = sum(outcome.others.count for outcome in outcomes if outcome.others)
        lost = sum(sum(outcome.errors.values()) + outcome.unanswered for outcome in outcomes)
        if others or lost:
            notes.append(f"{name} at {connections}: {others} replies were not 200, {lost} requests got none.")
    return notes


def _alone(comparison: Comparison) -> float:
    return median(one.limit.both_ms for one in comparison.limits)


def _p50(comparison: Comparison, name: str, connections: int) -> float:
    return median(one.outcomes[0].ok.p50 if one.outcomes[0].ok else float("nan") for one in comparison.rounds[name, connections])


def _rate(comparison: Comparison, name: str, connections: int) -> float:
    return median(_of(one) for one in comparison.rounds[name, connections])


def _of(measured: Measured) -> float:
    return measured.outcomes[0].rate


def spread_of(rates: Sequence[float]) -> str:
    """Lowest to highest."""
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


def _latency(values: Sequence[float]) -> str:
    return f"{median(values):.2f}" if values else ""

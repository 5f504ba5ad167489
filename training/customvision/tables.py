"""What the service says of a training, and what scoring came to, for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from models.tables import print_report
from training.customvision.answers import Tally, report
from training.customvision.iterations import TagResult
from training.progress import console


def print_performance(title: str, rows: Sequence[TagResult]) -> None:
    """Precision, recall and average precision of each tag."""
    table = Table(title, "precision", "recall", "average precision")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(row.name, *(f"{value:.1%}" for value in (row.precision, row.recall, row.average_precision)))
    console.print(table)


def print_tally(result: Tally) -> None:
    """Accuracy, classes, confusion, latency and cost."""
    print_report(console, f"{result.subject.published_name} at {result.subject.host}", report(result))
    latency = ", ".join(f"{name} {value:.0f} ms" for name, value in result.latency_ms.items())
    cost = "" if result.usd is None else f"; {result.usd:.2f} USD at {result.usd_per_1000:.2f} for 1,000"
    console.print(f"latency {latency}{cost}; {result.not_scored:,} images without an answer", highlight=False)

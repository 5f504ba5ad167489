"""A classifier's report as tables for a terminal."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table

from models.statistics import Report


def print_report(console: Console, title: str, result: Report) -> None:
    """Accuracy with its interval, each class, and who is taken for whom."""
    value = result.accuracy
    console.print(
        f"[bold]{title}[/]: accuracy {value.value:.1%} (95 % interval {value.low:.1%} to {value.high:.1%}, "
        f"{value.correct:,} of {value.images:,} images)",
        highlight=False,
    )
    console.print(Group(_classes(result), _confusion([row.label for row in result.classes], result.confusion)))


def _classes(result: Report) -> Table:
    table = Table("class", *(f"{name}" for name in ("precision", "recall", "F1", "images")))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in result.classes:
        table.add_row(row.label, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", f"{row.images:,}")
    return table


def _confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Table:
    table = Table("is \\ named", *labels)
    for column in table.columns[1:]:
        column.justify = "right"
    for number, (label, row) in enumerate(zip(labels, matrix, strict=True)):
        table.add_row(label, *(f"[bold]{count}[/]" if j == number else str(count or "·") for j, count in enumerate(row)))
    return table

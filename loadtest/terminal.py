"""The terminal: tables, and how a test goes while it goes."""

import sys
from collections.abc import Mapping
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Shown

from loadtest.plan import Plan
from loadtest.tables import Table, milliseconds

QUIET_EVERY_S = 10
"""Between lines of progress where nobody watches a bar."""


def wide() -> Console:
    """Of the terminal's width, and wide enough for the tables where there is none."""
    return Console(width=None if sys.stdout.isatty() else 130)


def show(console: Console, table: Table) -> None:
    """Print a table; a threshold that was missed is red."""
    shown = Shown(*table.header, title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in table.rows:
        shown.add_row(*row, style="red" if "MISSED" in row else None)
    console.print(shown, highlight=False)
    if table.note:
        console.print(table.note, style="dim", highlight=False)
        console.print()


class Watcher:
    """Shows how a test goes: a bar for who watches, else a line now and then."""

    def __init__(self, console: Console, plan: Plan, *, quiet: bool = False) -> None:
        """`quiet`: no lines, only a bar."""
        self._console = console
        self._seconds = plan.warm_curve.seconds
        self._quiet = quiet
        self._said = 0.0
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        load = f"{plan.rate:g}/s" if plan.rate else f"{plan.users} callers"
        self._task = self._bar.add_task(f"{load}, starting", total=self._seconds) if self._bar else None
        self._load = load

    def tell(self, event: Mapping[str, Any]) -> None:
        """Hear of progress."""
        at = min(float(event["at_s"] or 0.0), self._seconds)
        counts = ", ".join(f"{event[name]:,} {name}" for name in ("ok", "shed", "failed"))
        text = f"{self._load}: {counts}, p99 {milliseconds(event['p99'])} ms"
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=at, description=text)
        elif not self._quiet and at - self._said >= QUIET_EVERY_S:
            self._said = at
            self._console.print(f"{at:5.0f} s  {text}", highlight=False)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

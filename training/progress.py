"""What a person sees while long work is on."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.data import Advance

console = Console(stderr=True, soft_wrap=True)  # a terminal wraps by itself, and in a log a line stays a line


def bar(unit: str) -> Progress:
    """A progress bar on standard error that vanishes when it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def advance_bar(progress: Progress, text: str, total: int) -> Advance:
    """Add a task to `progress` and return the function that moves it by one."""
    task = progress.add_task(text, total=total)
    return lambda: progress.advance(task)

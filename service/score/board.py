"""What a person sees while a run goes on: a bar for each backend, or, where no terminal shows it, a line now and then."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from models.scoring import words

LINE_S = 10.0
"""Between two lines of one backend where no bar can be shown."""
LONGEST_NAME = 24


class _Facts(ProgressColumn):
    """What a task's field holds, as it is: names and messages may look like markup."""

    def __init__(self, field: str) -> None:
        super().__init__(Column(no_wrap=True, justify="right"))
        self._field = field

    def render(self, task: Task) -> Text:
        return Text(str(task.fields[self._field]))


class Board:
    """Shown for the length of a block. Everything goes to one console, best that of standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        name = Column(no_wrap=True, overflow="ellipsis", max_width=LONGEST_NAME)
        columns = (TextColumn("{task.description}", markup=False, table_column=name), BarColumn(None))
        facts = (_Facts("count"), _Facts("rate"), _Facts("right"), _Facts("left"))
        self._progress = Progress(*columns, *facts, console=console, expand=True, disable=not self._live)
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}
        """When the last line of a backend was written."""
        self._over: set[str] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _exc: BaseException | None, _traceback: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the bars as they stand; what is written from now on comes below them."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Write a line, above the bars."""
        self._console.print(Text(text), soft_wrap=True)

    def uploading(self, sent: int, total: int) -> None:
        """Show how much of a set, in bytes, the server has."""
        if self._live:
            count = f"{sent / 1e6:,.1f}/{total / 1e6:,.1f} MB"
            self._bar("upload", sent, total, count=count)
        elif sent >= total and "upload" not in self._over:
            self._over.add("upload")
            self.say(f"upload: {total / 1e6:,.1f} MB sent")

    def show(self, progress: Mapping[str, Any]) -> None:
        """Show how far a run is: what a `progress` event of a scoring job says."""
        for one in progress["backends"]:
            done, total = one["progress"]["done"], one["progress"]["total"]
            facts = {"rate": _rate(one), "right": _right(one), "left": _left(one) if done < total else ""}
            if self._live:
                self._bar(one["name"], done, total, count=f"{done:,}/{total:,}", **facts)
            else:
                self._line(one["name"], done, total, [fact for fact in facts.values() if fact])

    def _bar(self, name: str, done: int, total: int, **facts: str) -> None:
        shown: dict[str, Any] = {"count": "", "rate": "", "right": "", "left": "", **facts}
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, **shown)
        self._progress.update(self._tasks[name], completed=done, total=total, **shown)

    def _line(self, name: str, done: int, total: int, facts: list[str]) -> None:
        moment = time.monotonic()
        due = done and moment - self._told.setdefault(name, moment) >= LINE_S
        if name in self._over or not (due or done >= total):
            return
        self._told[name] = moment
        if done >= total:
            self._over.add(name)
        self.say(f"{name}: {', '.join([f'{done:,} of {total:,}', *facts])}")


def outlined(job: Mapping[str, Any]) -> str:
    """What a scoring job is about, in a line: its images, and its backends as they are pinned."""
    backends = ", ".join(f"{one['name']} {one['version']} {one['precision']}" for one in job["backends"])
    images, of = job["dataset"]["images"], job["dataset"]["of"]
    return f"{images:,} {f'of {of:,} ' if images < of else ''}images of {job['dataset']['name']}: {backends}"


def _rate(one: Mapping[str, Any]) -> str:
    return f"{words.number(one['images_per_second'])}/s" if one["images_per_second"] else ""


def _right(one: Mapping[str, Any]) -> str:
    right = "" if one["accuracy"] is None else f"{words.percent(one['accuracy'])} right"
    return ", ".join(part for part in (right, f"{one['failed']:,} failed" if one["failed"] else "") if part)


def _left(one: Mapping[str, Any]) -> str:
    seconds = one["seconds_left"]
    return "" if seconds is None else f"{words.minutes(max(seconds, 1) / 60)} left"

"""What a person sees while trials run: a live table on a terminal, else a line for each trial that ends."""

from datetime import datetime
from typing import Self

from optuna.trial import FixedTrial, FrozenTrial, TrialState
from rich.live import Live
from rich.table import Table

from training.progress import console
from training.sweep.candidate import draw
from training.sweep.leaderboard import brief
from training.sweep.queue import FINISHED, Queue
from training.sweep.space import Space

ROWS = 12


class Board:
    """Shows a study as it goes on, whoever works on it."""

    def __init__(self, queue: Queue, space: Space) -> None:
        self._queue = queue
        self._space = space
        self._told: set[int] = set()
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def look(self) -> None:
        """Show what has changed."""
        trials = sorted(self._queue.trials().values(), key=lambda trial: trial.number)
        if self._live:
            self._live.update(self._table(trials))
            return
        for trial in trials:
            if trial.state in FINISHED and trial.number not in self._told:
                self._told.add(trial.number)
                console.print(
                    f"{len(self._told)}/{self._queue.slots}: {self._line(trial)}", highlight=False, markup=False, soft_wrap=True
                )

    def _table(self, trials: list[FrozenTrial]) -> Table:
        done = [trial for trial in trials if trial.state in FINISHED]
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        table = Table(title=f"{len(done)} of {self._queue.slots} trials", title_justify="left")
        for name in ("trial", "", "accuracy", "epochs", "seconds", "tries"):
            table.add_column(name, justify="right" if name in {"trial", "accuracy", "epochs", "seconds"} else "left")
        best = max((trial.value or 0.0 for trial in done), default=None)
        for trial in [*sorted(done, key=_seconds_ago)[:ROWS][::-1], *running]:
            accuracy = trial.value if trial.value is not None else max(trial.intermediate_values.values(), default=None)
            table.add_row(
                str(trial.number),
                _state(trial),
                "" if accuracy is None else f"{accuracy:.4f}{' *' if accuracy == best else ''}",
                str(trial.last_step or ""),
                f"{_seconds(trial):.0f}",
                self._tries(trial),
            )
        return table

    def _line(self, trial: FrozenTrial) -> str:
        accuracy = "nothing" if trial.value is None else f"{trial.value:.4f}"
        return f"trial {trial.number} {_state(trial)}, {accuracy} in {_seconds(trial):.0f} s: {self._tries(trial)}"

    def _tries(self, trial: FrozenTrial) -> str:
        try:
            candidate = draw(self._space, FixedTrial(trial.params))
        except ValueError:  # it is about to be drawn
            return ""
        return f"{candidate.model_name} at {candidate.image_size}, {brief(candidate)}"


def _state(trial: FrozenTrial) -> str:
    if trial.state == TrialState.RUNNING:
        return str(trial.user_attrs.get("doing", "begins"))
    return "complete" if trial.state == TrialState.COMPLETE else "ended early"


def _seconds_ago(trial: FrozenTrial) -> float:
    return (_now() - (trial.datetime_complete or _now())).total_seconds()


def _seconds(trial: FrozenTrial) -> float:
    return max(0.0, ((trial.datetime_complete or _now()) - (trial.datetime_start or _now())).total_seconds())


def _now() -> datetime:
    return datetime.now()  # noqa: DTZ005  # as Optuna writes it: the worker's clock, no zone

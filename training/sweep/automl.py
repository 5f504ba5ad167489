"""A sweep from beginning to end, as one command takes it: trials, leaderboard, winner, report."""

import math
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError
from models.repository import Repository
from training.progress import advance_bar, bar, console
from training.sweep import crew, storage
from training.sweep.board import Board
from training.sweep.finish import Ending, finish, winner_of
from training.sweep.job import Sweep
from training.sweep.leaderboard import Leaderboard, latency_ms, leaderboard, networks, table
from training.sweep.locks import try_hold
from training.sweep.queue import Queue
from training.sweep.report import write_report
from training.tracking.tracker import Tracker

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from training.data import TrainingSet


WIDTH = 130
"""Of the leaderboard in a log."""


def train(
    sweep: Sweep,
    ending: Ending,
    store: Repository,
    runs: Path,
    *,
    concurrent: int,
    timeout_minutes: float = math.inf,
    resume: bool = False,
    tracker: Tracker | None = None,
) -> Path:
    """Run the study to its end and put the winner into the store. Returns the folder of the version.

    Raises `ParallaxError`: `UsageError` if the study exists and isn't to be resumed, if it is about something else, or if
    another command is at it.
    """
    lock = try_hold(sweep.folder / "lock")
    if lock is None:
        raise UsageError(f"another command is at study {sweep.name}: join it with --worker")
    try:
        data = images(sweep)
        store.check_labels(ending.name, data.labels)
        study = sweep.open()
        sweep.join(study)
        _take_charge(study, resume=resume)
        trials = search(sweep, study, concurrent, timeout_minutes)
        board = judged(sweep, trials, ending, len(data.labels))
        board.write(sweep.folder / "leaderboard.json")
        console.print(table(board), width=None if console.is_terminal else WIDTH)
        write_report(sweep.folder / "report.html", study, board)
        winner_of(board)
        version = finish(sweep, board, trials, ending, store, runs, tracker)
        board = board.model_copy(update={"version": f"{version.parent.name}/{version.name}"})
        board.write(sweep.folder / "leaderboard.json")
        write_report(sweep.folder / "report.html", study, board)
        console.print(f"leaderboard and report: {sweep.folder}", highlight=False)
        study.set_user_attr("charge", None)
        sweep.images.remove()
        shutil.rmtree(sweep.folder / "workers", ignore_errors=True)
        return version
    finally:
        lock.let_go()


def join(sweep: Sweep, *, concurrent: int, timeout_minutes: float = math.inf) -> None:
    """Run trials of a study that another command takes to its end, until it has all of them. Raises `ParallaxError`."""
    images(sweep)
    study = sweep.open()
    sweep.join(study)
    search(sweep, study, concurrent, timeout_minutes)


def images(sweep: Sweep) -> "TrainingSet":
    """Decode the images, or find them decoded."""
    with bar("images") as progress:
        return sweep.images.at(sweep.first_side, lambda text, total: advance_bar(progress, text, total))


def search(sweep: Sweep, study: "Study", concurrent: int, timeout_minutes: float) -> "list[FrozenTrial]":
    """Have trials run until there are as many as there are to be, or time is over. Returns those that came to an end."""
    queue = Queue(study, sweep.slots, sweep.folder)
    console.print(f"study {sweep.name} in {storage.shown(sweep.storage)}", highlight=False, soft_wrap=True)
    with Board(queue, sweep.space) as board:
        whole = crew.run(sweep, queue, concurrent, time.time() + timeout_minutes * 60, board.look)
    if not whole:
        console.print("stopped: what was found so far counts")
    elif not queue.is_done:
        console.print(f"time is over: {len(queue.finished())} of {sweep.slots} trials came to an end")
    return queue.finished()


def judged(sweep: Sweep, trials: "list[FrozenTrial]", ending: Ending, classes: int) -> Leaderboard:
    """The leaderboard, once every network that was tried has been timed."""
    tried = [trial for trial in trials if "result" in trial.user_attrs]
    latencies = {
        (candidate.model_name, candidate.image_size): latency_ms(candidate, sweep.space.weights, classes)
        for candidate in networks(sweep.space, tried)
    }
    return leaderboard(sweep.name, trials, sweep.space, ending.usd_per_hour, sweep.features.seconds(), latencies)


def _take_charge(study: "Study", *, resume: bool) -> None:
    """See that one command finishes a study, not two. Raises `UsageError`."""
    here, there = socket.gethostname(), study.user_attrs.get("charge")
    if study.user_attrs.get("begun") and not resume:
        where = f" (on {there})" if there else ""
        raise UsageError(
            f"study {study.study_name} was begun before{where}: go on with it with --resume, help with --worker, or begin "
            "another with --study"
        )
    study.set_user_attr("begun", True)
    study.set_user_attr("charge", here)

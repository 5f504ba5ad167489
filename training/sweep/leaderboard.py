"""The trials of a study in the order of their validation accuracy, with what each costs to find and to serve."""

import statistics as averages
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from optuna.trial import FixedTrial, FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict
from rich.markup import escape
from rich.table import Table

from models import prices, statistics
from models.machine import processor, usable_cpus
from models.metadata import Accuracy
from training.sweep.candidate import Candidate, draw
from training.sweep.space import Space

WARM_UPS, CALLS = 5, 30

Network = tuple[str, int]
"""A model's name and the side of its images."""


class Row(BaseModel):
    """One trial."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    rank: int
    trial: int
    ended_early: bool
    accuracy: Accuracy
    """On the validation images, with a Wilson 95 % interval."""
    epochs: int
    minutes: float
    """Of the head alone, by the clock."""
    usd: float
    """For the worker's share of the machine."""
    parameters: int
    latency_ms: float | None
    """Median for one image, on one thread of ONNX Runtime."""
    settings: Candidate


class Leaderboard(BaseModel):
    """`leaderboard.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    written: datetime
    processor: str
    cores: int
    usd_per_hour: float
    features_minutes: float
    """That frozen backbones took on this machine, for all trials together."""
    features_usd: float
    trials: int
    rows: list[Row]
    version: str | None = None
    """Of the winner in the store, as NAME/VERSION, once it is there."""

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        part = path.with_suffix(".part")
        part.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        part.replace(path)


def leaderboard(
    study: str,
    trials: Sequence[FrozenTrial],
    space: Space,
    usd_per_hour: float,
    features_seconds: float,
    latencies: Mapping[Network, float],
) -> Leaderboard:
    """Rank the trials that came to an end; of equally good ones the quicker to serve, then the older, stands first."""
    rows = [_row(trial, candidate_of(space, trial), usd_per_hour, latencies) for trial in trials if "result" in trial.user_attrs]
    rows.sort(key=lambda row: (row.ended_early, -row.accuracy.value, row.latency_ms or 0.0, row.trial))
    minutes = features_seconds / 60
    return Leaderboard(
        study=study,
        written=datetime.now(UTC).replace(microsecond=0),
        processor=processor(),
        cores=usable_cpus(),
        usd_per_hour=usd_per_hour,
        features_minutes=round(minutes, 2),
        features_usd=round(prices.usd(minutes, usd_per_hour), 4),
        trials=len(trials),
        rows=[row.model_copy(update={"rank": rank}) for rank, row in enumerate(rows, 1)],
    )


def candidate_of(space: Space, trial: FrozenTrial) -> Candidate:
    """What a trial tried."""
    return draw(space, FixedTrial(trial.params))


def networks(space: Space, trials: Sequence[FrozenTrial]) -> list[Candidate]:
    """One candidate, the best, for each network and size that was tried: its latency is that of the others too."""
    best: dict[Network, tuple[float, Candidate]] = {}
    for trial in trials:
        candidate = candidate_of(space, trial)
        place, value = (candidate.model_name, candidate.image_size), trial.value or 0.0
        if place not in best or value > best[place][0]:
            best[place] = (value, candidate)
    return [candidate for _, candidate in best.values()]


def latency_ms(candidate: Candidate, weights: str, classes: int) -> float:
    """Median for one image on one thread: backbone and head as ONNX, as they would be exported."""
    from models.runtime import OnnxModel
    from training import backbones
    from training.export import convert
    from training.heads import assembled, head

    side = candidate.image_size
    backbone = backbones.build(candidate.model_name, side, side, weights=weights).model
    network = assembled(backbone, head(backbone.output_shape[1], classes, candidate.head))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        convert(network, side, side, path)
        model = OnnxModel(path, threads=1)
    image = np.random.default_rng(1).integers(0, 256, (1, side, side, 3), np.uint8)
    times = []
    for _ in range(WARM_UPS + CALLS):
        began = time.perf_counter()
        model.run(image)
        times.append(time.perf_counter() - began)
    return round(averages.median(times[WARM_UPS:]) * 1000, 2)


def table(board: Leaderboard, most: int = 20) -> Table:
    """For a terminal."""
    shown = Table(title=f"{board.study}: {len(board.rows)} of {board.trials} trials", title_justify="left")
    for name in ("", "trial", "model", "size", "accuracy (95 %)", "minutes", "USD", "parameters", "ms"):
        shown.add_column(name, justify="left" if name == "model" else "right")
    for row in board.rows[:most]:
        value, settings = row.accuracy, row.settings
        shown.add_row(
            str(row.rank),
            str(row.trial),
            settings.model_name,
            str(settings.image_size),
            f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"
            if not row.ended_early
            else f"{value.value:.1%}, ended early",
            f"{row.minutes:.1f}",
            f"{row.usd:.3f}",
            f"{row.parameters:,}",
            "" if row.latency_ms is None else f"{row.latency_ms:.1f}",
        )
    if board.rows:
        shown.caption = f"first: {escape(brief(board.rows[0].settings))}"
    return shown


def brief(settings: Candidate) -> str:
    """What of a candidate is not in a column of its own, in few characters."""
    layers = " ".join(map(str, settings.head_layers))
    return (
        f"{settings.optimizer} {settings.learning_rate:.2g}, decay {settings.weight_decay:.1g}, smoothing "
        f"{settings.label_smoothing:.2g}, mixup {settings.mixup:.2g}, [{layers}] {settings.dropout:.2g}"
    )


def _row(trial: FrozenTrial, settings: Candidate, usd_per_hour: float, latencies: Mapping[Network, float]) -> Row:
    result = trial.user_attrs["result"]
    return Row(
        rank=0,
        trial=trial.number,
        ended_early=trial.state == TrialState.PRUNED,
        accuracy=statistics.accuracy(result["correct"], result["images"]),
        epochs=result["epochs"],
        minutes=round(result["seconds"] / 60, 2),
        usd=round(prices.usd(result["machine_seconds"] / 60, usd_per_hour), 4),
        parameters=result["parameters"],
        latency_ms=latencies.get((settings.model_name, settings.image_size)),
        settings=settings,
    )

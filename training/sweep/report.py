"""A study as one HTML file that needs nothing from anywhere: the leaderboard, and Optuna's plots."""

import html
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.sweep.leaderboard import Leaderboard, brief

if TYPE_CHECKING:
    from optuna import Study

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328 }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #d0d7de; padding: .25rem .6rem; text-align: right; white-space: nowrap }
.text { text-align: left; white-space: normal }
"""


def write_report(path: Path, study: "Study", board: Leaderboard) -> None:
    """Write the file."""
    from plotly.offline import get_plotlyjs

    sections = "".join(f"<h2>{title}</h2>\n{_plot(make, study)}\n" for title, make in _plots().items())
    path.write_text(
        f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{html.escape(board.study)}</title><style>{STYLE}</style>
<script>{get_plotlyjs()}</script></head>
<body>
<h1>{html.escape(board.study)}</h1>
<p>{board.trials} trials; {html.escape(board.processor)}, {board.cores} cores at {board.usd_per_hour:g} USD an hour. Frozen
backbones: {board.features_minutes:g} minutes, {board.features_usd:g} USD, for all trials together.
{f"Winner in the store: <b>{html.escape(board.version)}</b>." if board.version else ""}</p>
{_table(board)}
{sections}</body>
</html>
""",
        encoding="utf-8",
    )


def _plots() -> Mapping[str, Callable[["Study"], Any]]:
    from optuna import visualization as plots

    return {
        "History": plots.plot_optimization_history,
        "Importance of the settings": plots.plot_param_importances,
        "Parallel coordinates": plots.plot_parallel_coordinate,
        "Slices": plots.plot_slice,
        "Epochs": plots.plot_intermediate_values,
        "Timeline": plots.plot_timeline,
    }


def _plot(make: Callable[["Study"], Any], study: "Study") -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of single values, and of what is experimental
            return str(make(study).to_html(full_html=False, include_plotlyjs=False))
    except (ValueError, RuntimeError) as exc:  # the model is not to be lost for a picture
        return f"<p>No plot: {html.escape(str(exc))}</p>"


def _table(board: Leaderboard) -> str:
    rows = "".join(
        f"<tr><td>{row.rank}<td>{row.trial}<td class=text>{html.escape(row.settings.model_name)}<td>{row.settings.image_size}"
        f"<td>{row.accuracy.value:.1%} ({row.accuracy.low:.1%} to {row.accuracy.high:.1%})"
        f"<td>{row.epochs}{' (ended early)' if row.ended_early else ''}<td>{row.minutes:.1f}<td>{row.usd:.3f}"
        f"<td>{row.parameters:,}<td>{'' if row.latency_ms is None else row.latency_ms}"
        f"<td class=text>{html.escape(brief(row.settings))}"
        for row in board.rows
    )
    return (
        "<table><tr><th><th>trial<th class=text>model<th>size<th>validation accuracy (95 % interval)<th>epochs<th>minutes"
        f"<th>USD<th>parameters<th>ms for one image, one thread<th class=text>settings{rows}</table>"
    )

"""The confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def draw_confusion(path: Path, labels: Sequence[str], counts: Sequence[Sequence[int]], title: str) -> None:
    """Write a PNG: `counts[i][j]` images of class i were named j. A cell is as dark as its share of its row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # without pyplot, which would look for a screen
    from matplotlib.figure import Figure

    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(4.5, 1.8 + 0.62 * len(labels))
    figure = Figure(figsize=(side + 0.8, side), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, labels)
    axes.set_xlabel("named")
    axes.set_ylabel("is")
    accuracy = np.trace(matrix) / max(1, matrix.sum())
    axes.set_title(f"{title}: {accuracy:.1%} of {matrix.sum():,} images", fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(labels) <= MAX_WRITTEN:
        for row in places:
            for column in places:
                if matrix[row, column]:
                    colour = "white" if shares[row, column] > 0.55 else "black"
                    axes.text(column, row, f"{matrix[row, column]:,}", ha="center", va="center", color=colour, fontsize=9)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format=lambda value, _: f"{value:.0%}")
    bar.set_label("share of the class")
    bar.outline.set_visible(False)
    figure.savefig(path)


MAX_WRITTEN = 40
"""Classes up to which the counts can still be read."""

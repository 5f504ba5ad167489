"""The confusion matrix, drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from training.tracking.picture import draw_confusion


def test_counts_and_labels_are_written_and_the_diagonal_is_dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = Axes.text

    def text(self: Axes, x: float, y: float, s: str, **how: Any) -> object:  # noqa: ANN401
        written.append(s)
        return real(self, x, y, s, **how)

    monkeypatch.setattr(Axes, "text", text)
    draw_confusion(tmp_path / "a.png", ["sea", "mountain", "glacier"], [[1200, 0, 0], [3, 90, 7], [0, 0, 0]], "cnn")
    assert written == ["1,200", "3", "90", "7"]
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    blue = (pixels[:, :, 2] - pixels[:, :, 0] > 60).mean()
    assert 0.08 < blue < 0.5, "two cells of nine, and the bar"


def test_many_classes_are_drawn_without_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Axes, "text", lambda *_, **__: pytest.fail("nobody could read it"))
    labels = [f"class {number}" for number in range(41)]
    draw_confusion(tmp_path / "a.png", labels, np.eye(41, dtype=int).tolist(), "cnn")
    assert (tmp_path / "a.png").stat().st_size > 10_000

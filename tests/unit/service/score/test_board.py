"""What a person sees of a run: bars in a terminal, lines elsewhere."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from service.score.board import Board, outlined


def progress(done: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    facts = {"failed": 0, "accuracy": 0.876, "images_per_second": 310.4, "seconds_left": 83.0, **more}
    waiting = {"failed": 0, "accuracy": None, "images_per_second": None, "seconds_left": None}
    backends = [
        {"name": "cnn", "progress": {"done": done, "total": 1502}, **facts},
        {"name": "[red]a-name-that-is-longer-than-a-bar[/]", "progress": {"done": 0, "total": 1502}, **waiting},
    ]
    return {"backends": backends}


@pytest.mark.parametrize("width", [80, 150])
def test_a_terminal_shows_a_bar_for_each_backend_on_a_line_of_its_own(width: int) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    with Board(console) as here:
        here.show(progress(600, failed=3))
        here.say("a [bold]line[/]")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    last = [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()][-2:]
    assert last[0].startswith("cnn ")
    assert last[0].endswith("600/1,502 310/s 87.6 % right, 3 failed 1 min left")
    assert last[1].startswith("[red]a-name-that-is-lon… ")
    assert "0/1,502" in last[1]
    assert all(len(line) <= width for line in last)
    assert "a [bold]line[/]" in text


def test_elsewhere_there_is_a_line_now_and_then_and_one_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {10: 100.0, 20: 105.0, 600: 111.0, 700: 112.0, 1502: 113.0}
    moment = 0.0
    monkeypatch.setattr("service.score.board.time.monotonic", lambda: moment)
    shown = io.StringIO()
    with Board(Console(file=shown, width=40)) as here:
        for done in (10, 20, 600, 700, 1502, 1502):
            moment = seen[done]
            here.show(progress(done))
        here.uploading(500_000, 1_000_000)
        here.uploading(1_000_000, 1_000_000)
        here.uploading(1_000_000, 1_000_000)
    assert shown.getvalue().splitlines() == [
        "cnn: 600 of 1,502, 310/s, 87.6 % right, 1 min left",
        "cnn: 1,502 of 1,502, 310/s, 87.6 % right",
        "upload: 1.0 MB sent",
    ]


def test_a_run_in_a_line() -> None:
    backends = [{"name": "cnn", "version": "1", "precision": "fp32"}, {"name": "big", "version": "3", "precision": "int8"}]
    job = {"dataset": {"name": "x.zip", "images": 60, "of": 1502}, "backends": backends}
    assert outlined(job) == "60 of 1,502 images of x.zip: cnn 1 fp32, big 3 int8"

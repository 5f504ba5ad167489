"""Judging and drawing in a process of its own."""

import signal
import subprocess
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from models.imaging import Limits
from models.scoring.measure import measure
from models.scoring.report import draw
from service.scoring import apart
from service.scoring.rows import Row
from tests.support.images import encoded
from tests.support.scorings import answered, facts, failed, run_of

ROWS = [
    Row(*row)
    for row in (
        answered("sea/é\n1.jpg", "sea", "a", {"sea": 0.1, "street": 1 / 3}),
        answered("sea/2.jpg", None, "a", {"sea": 1e-30, "street": 0.9}),
        failed("sea/1.jpg", "sea", "b"),
    )
]
BACKENDS = [facts("a", ["sea", "street"], seconds=2.5), facts("b", ["sea"], words={"sea": "la mer"})]


def test_a_process_of_its_own_comes_to_the_same_results() -> None:
    assert apart.measured(ROWS, BACKENDS, run_of(2)) == measure(ROWS, BACKENDS, run_of(2))


def test_its_failure_is_told_with_what_it_said_last() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        apart.measured([*ROWS, ROWS[0]], BACKENDS, run_of(2))
    assert any("ValueError" in note for note in failure.value.__notes__)


IMAGES = [("sea/é\n1.jpg", encoded("JPEG", 300, 200)), ("sea/2.jpg", b"no image"), ("sea/1.jpg", encoded("PNG", 3001, 20))]
LIMITS = Limits(max_pixels=60_000)
MISTAKEN = [Row(*answered(name, "sea", "a", {"sea": 0.1, "street": 0.9})) for name, _ in IMAGES]


def test_a_process_of_its_own_draws_the_same_report() -> None:
    found = measure(MISTAKEN, BACKENDS[:1], run_of(3))
    assert found.galleries.images == ["sea/1.jpg", "sea/2.jpg", "sea/é\n1.jpg"]
    report = apart.drawn(found, iter(IMAGES), LIMITS)
    assert report == draw(found, IMAGES, LIMITS)
    assert report.count("data:image/jpeg;base64,") == 1, "of three, one is no image and one too large"


def test_a_process_that_dies_early_and_says_much_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nhead -c 1000000 /dev/zero >&2\necho its last words >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr("service.scoring.apart.sys.executable", str(program))
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3") as failure:
        apart.drawn(measure(MISTAKEN, BACKENDS[:1], run_of(3)), cycle(IMAGES), LIMITS)
    assert failure.value.__notes__[0].endswith("its last words\n")


def test_whoever_fails_to_hand_over_an_image_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  # whatever it takes
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr("service.scoring.apart.subprocess.Popen", Watched)

    def gone() -> Iterator[tuple[str, bytes]]:
        yield IMAGES[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        apart.drawn(measure(MISTAKEN, BACKENDS[:1], run_of(3)), gone(), LIMITS)
    assert [process.returncode for process in started] == [-signal.SIGKILL]

"""What a killed run of the command line leaves, and who may have it."""

import os
from pathlib import Path

import pytest

from models.errors import UsageError
from service.score import kept


def test_what_was_asked_for_names_the_folder(tmp_path: Path) -> None:
    one = kept.folder_of(tmp_path, "set", (1, 2), "{}")
    assert one == kept.folder_of(tmp_path, "set", (1, 2), "{}")
    assert len({one, kept.folder_of(tmp_path, "set", (1, 3), "{}"), kept.folder_of(tmp_path, "set", (1, 2), '{"seed":1}')}) == 3


def test_a_folder_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with kept.held(folder, fresh=False):
        with pytest.raises(UsageError, match="at work in another process"), kept.held(folder, fresh=True):
            pass
        (folder / "rows").touch()
    with kept.held(folder, fresh=False):
        assert (folder / "rows").exists()
    with kept.held(folder, fresh=True):
        assert [path.name for path in folder.iterdir()] == ["lock"]


def test_what_nobody_came_back_for_is_swept_away_unless_somebody_is_at_it(tmp_path: Path) -> None:
    old, new, busy = (tmp_path / name for name in ("old", "new", "busy"))
    for folder in (old, new):
        with kept.held(folder, fresh=False):
            pass
    with kept.held(busy, fresh=False):
        for folder in (old, busy):
            os.utime(folder, (0, 0))
        kept.sweep(tmp_path, 3600)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["busy", "new"]
    kept.sweep(tmp_path / "nowhere", 3600)

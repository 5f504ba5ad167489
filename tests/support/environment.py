"""The environment of a command that is called in this process."""

import os
from pathlib import Path

import pytest


def settle(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing of a developer's: a folder to be in, with a store and data of its own, and room for wide tables."""
    for name in os.environ:
        if name.startswith("PARALLAX_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(home)
    monkeypatch.setenv("PARALLAX_MODELS_DIR", str(home / "store"))
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(home / "own"))
    monkeypatch.setenv("COLUMNS", "200")

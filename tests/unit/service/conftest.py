"""Settings that come from a test alone, never from the machine that runs it; and properties that no slow machine fails."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No `PARALLAX_*` and no `OTEL_*`, no `.env`, no model, until a test says so."""
    for name in os.environ:
        if name.startswith(("PARALLAX_", "OTEL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARALLAX_MODELS_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))

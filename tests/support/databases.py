"""Databases of both kinds, for tests of what is kept there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.settings import Settings, load_settings
from tests.support import postgres


@contextmanager
def settings_for(kind: str, folder: Path) -> Iterator[Settings]:
    """Settings that name an empty database: `sqlite` or `postgresql`."""
    if kind == "sqlite":
        yield load_settings(data_dir=folder)
        return
    programs = postgres.binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running(programs) as url:
        yield load_settings(data_dir=folder, database_url=url)

"""Addresses of databases: which are understood, and that a password is never shown."""

from pathlib import Path

import pytest

from models.errors import UsageError
from training.sweep.storage import open_storage, shown, sqlite


def test_a_password_is_not_shown() -> None:
    assert shown("postgresql://me:s3cret@db.example:5432/sweeps") == "postgresql+psycopg://me:***@db.example:5432/sweeps"


def test_neither_is_it_told_when_the_database_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/sweeps can't be used") as caught:
        open_storage("postgresql://me:s3cret@127.0.0.1:1/sweeps")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["nothing", "postgresql:/x:s3cret"])
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(UsageError, match="--storage takes") as caught:
        shown(url)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database" * 100)
    with pytest.raises(UsageError, match=r"study.db can't be used: .*not a database"):
        open_storage(sqlite(tmp_path))


def test_a_database_without_a_driver_is_told() -> None:
    with pytest.raises(UsageError, match="can't be used"):
        open_storage("mysql://me:s3cret@127.0.0.1/sweeps")

"""Where a study is kept: SQLite in its own folder, or a PostgreSQL that many processes share."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy import URL, Engine

HEARTBEAT_S = 10
GRACE_S = 60
"""A trial that has shown no sign of life for so long is given to another worker: long enough for a machine that swaps."""
BUSY_S = 60
"""How long a process waits for its turn to write into SQLite."""
LOCK = 5_071_994
"""Any number of our own: who makes the tables holds PostgreSQL's advisory lock of this number."""


def sqlite(folder: Path) -> str:
    """Address of the database in a study's folder."""
    return f"sqlite:///{folder / 'study.db'}"


def shown(url: str) -> str:
    """An address without its password, for eyes and logs. Raises `UsageError` if it is no address."""
    return _parsed(url).render_as_string(hide_password=True)


def open_storage(url: str) -> "RDBStorage":
    """Connect, and make the tables if there are none.

    Raises `UsageError`, without the password, if there is no such database or it can't be reached.
    """
    import optuna
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import RDBStorage
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    address = _parsed(url)
    local = address.get_backend_name() == "sqlite"
    arguments = {"connect_args": {"timeout": BUSY_S}} if local else {"pool_pre_ping": True}
    try:
        engine = create_engine(address, **arguments)
        with _one_at_a_time(engine), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = RDBStorage(
                address.render_as_string(hide_password=False),
                engine_kwargs=arguments,
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
            )
        engine.dispose()
    except (SQLAlchemyError, ImportError, optuna.exceptions.OptunaError) as exc:
        told = str(exc).splitlines()[0]
        if address.password:
            told = told.replace(str(address.password), "***")
        raise UsageError(f"the study's storage {shown(url)} can't be used: {told}") from None  # its cause may quote the password
    if local:
        _write_in_turns(storage.engine)
    return storage


def _parsed(url: str) -> "URL":
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except ArgumentError:
        raise UsageError("--storage takes sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE") from None
    if address.drivername in {"postgresql", "postgres"}:
        return address.set(drivername="postgresql+psycopg")
    return address


@contextmanager
def _one_at_a_time(engine: "Engine") -> Iterator[None]:
    """Two processes that make the same tables at once would be in each other's way."""
    from sqlalchemy import text

    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": LOCK})
        yield  # the lock goes with the connection
        connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": LOCK})


def _write_in_turns(engine: "Engine") -> None:
    """Begin every transaction of SQLite as one that writes.

    It knows no SELECT ... FOR UPDATE: two processes would both read that a trial waits, and both take it. And a reader that
    wants to write while another one does is told `database is locked` at once, however long it would wait.
    (docs.sqlalchemy.org/dialects/sqlite.html, "Enabling Non-Legacy SQLite Transactional Modes".)
    """
    from sqlalchemy import Connection, event

    @event.listens_for(engine, "connect")
    def connect(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3's own BEGIN comes too late

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before

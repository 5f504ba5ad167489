"""The service's database: SQLite in the data folder, or a PostgreSQL that all replicas share.

Tables are SQLAlchemy Core's, declared on `metadata` by the module whose they are, and made by the steps in `migrations`.
Statements run on two threads of the database's own, one transaction that writes and one that reads at a time, so that neither the
event loop nor a reader waits for who writes. Only who needs a database imports this: a service that neither calls remote backends
nor scores does not load SQLAlchemy.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from service.errors import DatabaseFailed
from service.migrations import upgrade
from service.settings import Settings

Found = TypeVar("Found")

BUSY_S = 10
"""How long SQLite waits for another process, and PostgreSQL for a connection, a lock or a statement."""
LOCK = 5_071_995
"""Any number of our own: whoever must not be disturbed by another replica holds PostgreSQL's advisory lock of this number."""

READS, WRITES = {"postgresql_readonly": True}, {"postgresql_readonly": False}
"""Of a transaction, as SQLAlchemy names it; `_take_turns` goes by it too."""

metadata = MetaData()


class Database:
    """Connects when it is first asked, and again after it was lost."""

    def __init__(self, settings: Settings) -> None:
        """`settings.database_url`, else a file in `settings.data_dir`."""
        given = settings.database_url.get_secret_value()
        self._file = None if given else settings.data_dir / "parallax.db"
        self._address = _parsed(given) if given else URL.create("sqlite", database=str(self._file))
        self._engine: Engine | None = None
        self._opening = threading.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="database-reads")

    @property
    def shared(self) -> bool:
        """Whether other machines may use it too."""
        return self._address.get_backend_name() == "postgresql"

    def __repr__(self) -> str:
        return f"Database({self._address.render_as_string(hide_password=True)})"

    async def run(self, work: Callable[[Connection], Found]) -> Found:
        """Do some work in one transaction, on the database's thread. A connection that was lost is made anew, once.

        Nobody else writes into SQLite meanwhile; for PostgreSQL there is `alone`. Raises `DatabaseFailed`, without the password.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._run, work, WRITES)

    async def read(self, work: Callable[[Connection], Found]) -> Found:
        """The same for work that changes nothing, as the database makes sure: it waits for nobody who writes, nor they for it."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._run, work, READS)

    async def close(self) -> None:
        """Give back connections, once what is under way is done."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reader, lambda: None)  # nobody reads any more
        if self._engine is not None:
            await loop.run_in_executor(self._writer, self._engine.dispose)
        self._writer.shutdown(wait=False)
        self._reader.shutdown(wait=False)

    def _run(self, work: Callable[[Connection], Found], options: dict[str, bool]) -> Found:
        try:
            with self._opening:
                engine = self._open().execution_options(**options)
            try:
                with engine.begin() as connection:
                    return work(connection)
            except DBAPIError as exc:
                if not exc.connection_invalidated:
                    raise
            with engine.begin() as connection:
                return work(connection)
        except (SQLAlchemyError, OSError) as exc:
            where = "PARALLAX_DATABASE_URL" if self._file is None else f"PARALLAX_DATA_DIR ({self._file})"
            what = type(getattr(exc, "orig", None) or exc).__name__
            raise DatabaseFailed(f"The database of {where} can't be used ({what}).") from None  # its cause may quote the password

    def _open(self) -> Engine:
        if self._engine is None:
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(self._address, hide_parameters=True, **_options(self._address))
            if not self.shared:
                _take_turns(engine)
            with engine.begin() as connection:
                alone(connection)
                upgrade(connection)
            self._engine = engine
        return self._engine


def alone(connection: Connection) -> None:
    """Wait until no other transaction is past this point, and hold them off to the end of this one."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})


def now(connection: Connection) -> float:
    """Seconds since the epoch, by the one clock that all who share the database go by."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def _parsed(url: str) -> URL:
    address = make_url(url)
    return address.set(drivername="postgresql+psycopg") if address.get_backend_name() in {"postgresql", "postgres"} else address


def _options(address: URL) -> dict[str, dict[str, object]]:
    if address.get_backend_name() != "postgresql":
        return {"connect_args": {"timeout": BUSY_S}}
    bounds = f"-c statement_timeout={BUSY_S}s -c lock_timeout={BUSY_S}s"
    return {"connect_args": {"connect_timeout": BUSY_S, "options": bounds}}


def _take_turns(engine: Engine) -> None:
    """Begin transactions of SQLite that may write as ones that do: a reader that wants to write later would be refused at once.

    (docs.sqlalchemy.org/dialects/sqlite.html, "Enabling Non-Legacy SQLite Transactional Modes".)
    """

    @event.listens_for(engine, "connect")
    def connect(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3's own BEGIN comes too late
        cursor = connection.cursor()  # type: ignore[attr-defined]  # blind to the driver
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads = bool(connection.get_execution_options().get("postgresql_readonly"))
        connection.exec_driver_sql(f"PRAGMA query_only={int(reads)}")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

"""How the tables of the service's database came to be, step by step: `upgrade` brings any database to the newest.

A step that was released is never changed: a new one is added. Every service brings its database up to date when it opens it, one
at a time.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

_ALEMBIC = threading.Lock()
"""Alembic keeps what it works on in module globals, and a process may open its database on several threads."""


def upgrade(connection: Connection) -> None:
    """Take the steps that this database lacks, within the connection's transaction. Nobody else may be at it: see `alone`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, "head")

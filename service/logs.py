"""Logs in JSON."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from service.tracing import TraceIds


def configure_logging(level: str) -> None:
    """One JSON object a line on standard error, for everything that logs in this process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    handler.addFilter(TraceIds())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each request to a remote backend, which are counted
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it would tell of each of its plugins
    logging.getLogger("uvicorn.access").disabled = True  # the edge logs requests, with their ids

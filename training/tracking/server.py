"""MLflow's client: connected to the tracking server that the environment names, quiet, and with its errors made ours."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from models.errors import ParallaxError
from models.workspace import data_dir

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nobody is told that somebody trains here
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # what goes wrong is an exception, and told as such
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default of 7 keeps a training waiting for minutes when its server is gone
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Of the environment, unless it says otherwise."""

PLUGINS = {"azureml": "azureml-mlflow: make train-env EXTRAS=azure"}
"""What to install for the schemes of others."""

BUILT_IN = frozenset({"", "file", "http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks"})


class TrackingError(ParallaxError):
    """The tracking server can't be reached, or refuses."""


def local_folder() -> Path:
    """Where runs are tracked that no server is named for: a database, and the files that it speaks of."""
    return data_dir().absolute() / "mlflow"


def local_uri() -> str:
    """Address of that store. SQLite, since MLflow keeps its store of plain files only for those who have one already."""
    return f"sqlite:///{local_folder() / 'mlflow.db'}"


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else the local store."""
    return os.environ.get(URI_VARIABLE) or local_uri()


def shown(text: str) -> str:
    """An address, or a text that may hold one, as it may be printed: without user and password."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def look(uri: str) -> str:
    """How to see in a browser what is tracked."""
    if urlsplit(uri).scheme in {"http", "https"}:
        return shown(uri)
    if uri == local_uri():
        return f"make mlflow-ui, or: mlflow ui --backend-store-uri {uri}"
    return f"mlflow ui --backend-store-uri {shown(uri)}"


def connect() -> "MlflowClient":
    """A client of `tracking_uri`, which MLflow's own functions follow from now on. Raises `TrackingError`."""
    uri = tracking_uri()
    scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else ""
    if scheme not in BUILT_IN and scheme not in {plugin.name for plugin in entry_points(group="mlflow.tracking_store")}:
        wanted = PLUGINS.get(scheme, "the plugin for MLflow that knows it")
        raise TrackingError(f"MLflow can't speak to {scheme}:// as it is installed here; it takes {wanted}")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with mapped(f"{shown(uri)} can't be used for tracking"):
        import mlflow

        if uri == local_uri():
            local_folder().mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(uri)
        return mlflow.MlflowClient()


@contextmanager
def mapped(what: str) -> Iterator[None]:
    """Turn whatever MLflow, its plugins and its HTTP client raise into a `TrackingError` that begins with `what`."""
    try:
        yield
    except ParallaxError:
        raise
    except Exception as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise TrackingError(f"{what}: {shown(reason)[:500]}") from exc


def error_code(exc: BaseException | None) -> str:
    """MLflow's code of an error, such as `RESOURCE_DOES_NOT_EXIST`; empty for others'."""
    return str(getattr(exc, "error_code", ""))

"""One run in MLflow: begun, or found again, and told what it does not know yet. Nothing here knows what is trained."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from models.workspace import data_dir
from training.tracking.server import TrackingError, connect, error_code, local_folder, local_uri, mapped, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as TrackedRun

EXPERIMENT = "parallax"

Status: TypeAlias = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class Journal:
    """What MLflow knows of one run. Every method raises `TrackingError` when the server can't be reached, or refuses."""

    def __init__(self, client: "MlflowClient", run_id: str, experiment_id: str, *, adopted: bool = False) -> None:
        """`adopted`: somebody else began it, such as the Azure ML job that this process runs in, and ends it too."""
        self.client = client
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.adopted = adopted

    @classmethod
    def open(
        cls,
        name: str,
        *,
        experiment: str | None = None,
        run_id: str | None = None,
    ) -> Self:
        """Go on with a run that the server has, or begin one.

        `run_id`: one that was begun before; if this server does not know it, a new one is begun. Without it, the run that
        `MLFLOW_RUN_ID` names is adopted. `experiment` is made if need be [default: `MLFLOW_EXPERIMENT_NAME`, else
        `parallax`].
        """
        client = connect()
        with mapped("the run can't be opened in MLflow"):
            found = _find(client, run_id) if run_id else None
            adopted = os.environ.get("MLFLOW_RUN_ID") if found is None else None
            if adopted:
                found = client.get_run(adopted)
            if found is None:
                names = {"mlflow.runName": name, "mlflow.source.name": "parallax", "mlflow.source.type": "LOCAL"}
                found = client.create_run(_experiment(client, experiment), tags=names)
            journal = cls(client, found.info.run_id, found.info.experiment_id, adopted=bool(adopted))
            if found.info.status != "RUNNING" and not adopted:
                client.update_run(journal.run_id, status="RUNNING")
        return journal

    def describe(self, params: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """Say what a run was told. Saying it again is no fault; a parameter may not change."""
        from mlflow.entities import Param, RunTag

        with mapped("parameters can't be tracked"):
            said = [Param(key, str(value)) for key, value in params.items() if value is not None]
            for start in range(0, len(said), 100):  # as many as MLflow takes in one call
                self.client.log_batch(self.run_id, params=said[start : start + 100])
            self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def measure(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add metrics, all of them or none, at a step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with mapped("metrics can't be tracked"):
            self.client.log_batch(self.run_id, metrics=[Metric(key, value, now, step) for key, value in metrics.items()])

    def steps(self, metric: str) -> set[int]:
        """Steps at which a metric is known already."""
        from mlflow.exceptions import MlflowException

        with mapped("metrics can't be read"):
            try:
                return {one.step for one in self.client.get_metric_history(self.run_id, metric)}
            except MlflowException as exc:
                if error_code(exc) != "RESOURCE_DOES_NOT_EXIST":  # so other servers than MLflow's may say that it has no values
                    raise
                return set()

    @contextmanager
    def folder(self, path: str = "") -> Iterator[Path]:
        """A folder to fill, whose files are kept with the run afterwards, below `path`."""
        data_dir().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="mlflow-", dir=data_dir()) as folder:
            yield Path(folder)
            with mapped("files can't be tracked"):
                self.client.log_artifacts(self.run_id, folder, path or None)

    def files(self) -> set[str]:
        """Files and folders that are kept with the run, by name."""
        with mapped("files can't be listed"):
            return {one.path for one in self.client.list_artifacts(self.run_id)}

    def end(self, status: Status) -> None:
        """Say how it ended; of an adopted run, whoever began it says so."""
        if not self.adopted:
            with mapped("the run's end can't be tracked"):
                self.client.set_terminated(self.run_id, status)


def _find(client: "MlflowClient", run_id: str) -> "TrackedRun | None":
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_run(run_id)
    except MlflowException as exc:
        if error_code(exc) == "RESOURCE_DOES_NOT_EXIST":
            return None  # it was tracked elsewhere before
        raise
    return found if found.info.lifecycle_stage == "active" else None


def _experiment(client: "MlflowClient", name: str | None) -> str:
    from mlflow.exceptions import MlflowException

    name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    place = (local_folder() / "artifacts").as_uri() if tracking_uri() == local_uri() else None
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as exc:
            if error_code(exc) != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another run was faster
    if found is None or found.lifecycle_stage != "active":
        raise TrackingError(f"the experiment {name!r} was deleted; restore it, or name another with --experiment")
    return str(found.experiment_id)

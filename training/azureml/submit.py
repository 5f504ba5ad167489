"""Sends what a YAML file describes to a workspace, after a look at it, and follows a job's log."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UsageError
from training.azureml.references import kind_of, problems, read
from training.azureml.workspace import MISSING, Client, azure_errors

HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Way:
    """How a kind of document is loaded, and who takes it."""

    load: str
    operations: str
    lasts: bool = False
    """Whether the service takes minutes, and tells when it is done."""


_WAYS: Mapping[str, _Way] = {
    "pipelineJob": _Way("load_job", "jobs"),
    "commandJob": _Way("load_job", "jobs"),
    "sweepJob": _Way("load_job", "jobs"),
    "autoMLJob": _Way("load_job", "jobs"),
    "autoMLImageClassificationJob": _Way("load_job", "jobs"),
    "commandComponent": _Way("load_component", "components"),
    "environment": _Way("load_environment", "environments"),
    "data": _Way("load_data", "data"),
    "managedOnlineEndpoint": _Way("load_online_endpoint", "online_endpoints", lasts=True),
    "kubernetesOnlineEndpoint": _Way("load_online_endpoint", "online_endpoints", lasts=True),
    "managedOnlineDeployment": _Way("load_online_deployment", "online_deployments", lasts=True),
    "kubernetesOnlineDeployment": _Way("load_online_deployment", "online_deployments", lasts=True),
}
"""By the name of their `$schema`."""


def changes(words: Sequence[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE` says, values as YAML has them. Raises `UsageError`."""
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {word}: say KEY=VALUE, as in inputs.seed=3")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise UsageError(f"--set {word}: {value!r} is no YAML") from exc
    return found


def load(file: Path, changed: Mapping[str, Any]) -> tuple[Any, _Way]:
    """What a file describes, with some values changed, as azure-ai-ml has it. Raises `UsageError` with all that is wrong."""
    document = read(file)
    for key, value in changed.items():
        _put(document, key, value, file)
    kind = kind_of(document)
    way = _WAYS.get(kind)
    if way is None:
        raise UsageError(f"{file}: $schema names {kind or 'nothing'}; it can be one of {', '.join(_WAYS)}")
    wrong = problems(document, file.parent)
    if wrong:
        raise UsageError("\n  ".join([f"{file} can't be sent:", *wrong]))
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)  # it warns of classes that nobody asked for
    with azure_errors(f"{file}"):
        from azure.ai import ml

        loaded = getattr(ml, way.load)(file, params_override=[{key: value} for key, value in changed.items()])
    return loaded, way


def submit(
    client: Client,
    file: Path,
    changed: Mapping[str, Any],
    *,
    stream: bool = True,
    tell: Callable[[str], None] = lambda _line: None,
) -> str:
    """Send what a file describes; follow a job to its end if `stream` is set. Returns the name it got.

    Raises `UsageError` before anything is sent if the file does not hold up, and for whatever Azure refuses.
    """
    entity, way = load(file, changed)
    operations = getattr(client, way.operations)
    with azure_errors(f"{file.name} was not taken"):
        if way.lasts:
            tell(f"{file.name}: this takes some minutes")
            return str(operations.begin_create_or_update(entity).result().name)
        made = operations.create_or_update(entity)
    if way.operations != "jobs":
        return f"{made.name}:{made.version}"
    tell(f"job {made.name}: {made.studio_url}")
    if stream:
        with azure_errors(f"job {made.name}"):
            operations.stream(made.name)
    return str(made.name)


def submit_automl(
    client: Client,
    size: str,
    training: str,
    validation: str,
    changed: Mapping[str, Any],
    *,
    stream: bool = True,
    **more: Any,  # noqa: ANN401
) -> str:
    """Send Azure's own AutoML job (`small` or `large`) for two MLTables, given as `azureml:NAME:VERSION`. As `submit`."""
    data = {"training_data.path": training, "validation_data.path": validation}
    return submit(client, HERE / "automl" / f"{size}.yml", data | dict(changed), stream=stream, **more)


def require() -> None:
    """Raise `UsageError` unless azure-ai-ml is installed: before any work is done for it."""
    from importlib.util import find_spec

    try:
        found = find_spec("azure.ai.ml")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UsageError(MISSING)


def _put(document: dict[str, Any], key: str, value: object, file: Path) -> None:
    """Set a.b.c in nested mappings."""
    *way, last = key.split(".")
    place: Any = document
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise UsageError(f"--set {key}: {file.name} has no such place")
    place[last] = value

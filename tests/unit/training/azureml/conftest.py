"""A workspace that exists in memory only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from training.azureml import workspace as module
from training.azureml.workspace import Workspace

Entity: TypeAlias = Any
"""Of azure-ai-ml, which is not there wherever types are checked."""


@dataclass
class Operations:
    """What a client has for one kind of thing: it notes what it is given."""

    made: list[Any] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)
    error: Exception | None = None
    contents: list[dict[str, bytes]] = field(default_factory=list)
    """Of the local folder of each thing that was made, as it was then."""

    def create_or_update(self, entity: Entity) -> Entity:
        if self.error is not None:
            raise self.error
        self.made.append(entity)
        self.contents.append(files_in(getattr(entity, "path", None)))
        version = getattr(entity, "version", None) or "1"
        return SimpleNamespace(
            name=entity.name or "brave_sun_1", version=version, studio_url="https://studio", path=where(entity)
        )

    def begin_create_or_update(self, entity: Entity) -> Entity:
        made = self.create_or_update(entity)
        return SimpleNamespace(result=lambda: made)

    def get(self, name: str, version: str) -> Entity:
        from azure.core.exceptions import ResourceNotFoundError

        found = next((one for one in self.made if (one.name, one.version) == (name, version)), None)
        if found is None:
            raise ResourceNotFoundError(f"no {name}:{version}")
        return SimpleNamespace(name=name, version=version, path=where(found))

    def stream(self, name: str) -> None:
        self.streamed.append(name)


class Client:
    """In the place of an MLClient."""

    def __init__(self) -> None:
        self.jobs = Operations()
        self.components = Operations()
        self.environments = Operations()
        self.data = Operations()
        self.online_endpoints = Operations()
        self.online_deployments = Operations()

    @property
    def made(self) -> Mapping[str, int]:
        """How much of each kind was made."""
        return {name: len(operations.made) for name, operations in vars(self).items() if operations.made}


def where(entity: Entity) -> str:
    """Where the workspace keeps something."""
    folder = Path(getattr(entity, "path", None) or "").name
    return f"azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/{entity.name}/{folder}/"


def value(one: Entity) -> Entity:
    """What an input of a pipeline, or of a job in it, comes to."""
    return getattr(one, "_data", one)


def files_in(path: object) -> dict[str, bytes]:
    """Files of a local folder by their relative names."""
    root = Path(str(path)) if path else None
    if root is None or not root.is_dir():
        return {}
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def connected(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[Workspace | None]:
    """The workspaces that commands connect to; they get the client of the test."""
    asked: list[Workspace | None] = []

    def connect(workspace: Workspace | None) -> Client:
        asked.append(workspace)
        return client

    monkeypatch.setattr(module, "connect", connect)
    return asked


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No workspace of a developer is found by accident."""
    for name in ("AZURE_SUBSCRIPTION_ID", "AZUREML_RESOURCE_GROUP", "AZUREML_WORKSPACE_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    monkeypatch.chdir(tmp_path)

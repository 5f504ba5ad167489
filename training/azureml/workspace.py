"""The workspace of Azure ML that is meant, a client for it, and what its library raises as errors of ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from models.errors import UsageError

Client: TypeAlias = Any
"""An `azure.ai.ml.MLClient`, or what a test puts in its place. The library is not there when types are checked everywhere."""

MISSING = "this needs azure-ai-ml, which is an extra: make train-env EXTRAS=azure"


@dataclass(frozen=True)
class Workspace:
    """Where a workspace is."""

    subscription: str
    resource_group: str
    name: str


def named(subscription: str | None, resource_group: str | None, name: str | None) -> Workspace | None:
    """The workspace that options name, else the environment; None if neither does. Raises `UsageError` for a part of one."""
    given = {
        "--subscription or AZURE_SUBSCRIPTION_ID": subscription or os.environ.get("AZURE_SUBSCRIPTION_ID"),
        "--resource-group or AZUREML_RESOURCE_GROUP": resource_group or os.environ.get("AZUREML_RESOURCE_GROUP"),
        "--workspace or AZUREML_WORKSPACE_NAME": name or os.environ.get("AZUREML_WORKSPACE_NAME"),
    }
    missing = [how for how, value in given.items() if not value]
    if not missing:
        return Workspace(*(value for value in given.values() if value))
    if subscription or resource_group or name or os.environ.get("AZUREML_WORKSPACE_NAME"):
        raise UsageError(f"the workspace is named by half: say {', and '.join(missing)}")
    return None


def connect(workspace: Workspace | None) -> Client:
    """A client for a workspace; None: the one of config.json, here or in a folder above, as azure-ai-ml finds it.

    Whoever is signed in (`az login`, a managed identity, AZURE_CLIENT_ID and its like) asks. Nothing is sent yet. Raises
    `UsageError` if the library is not there, or no workspace.
    """
    try:
        from azure.ai.ml import MLClient
        from azure.ai.ml.exceptions import ValidationException
        from azure.identity import DefaultAzureCredential
    except ImportError as exc:
        raise UsageError(MISSING) from exc
    credential = DefaultAzureCredential()
    if workspace is not None:
        return MLClient(credential, workspace.subscription, workspace.resource_group, workspace.name, enable_telemetry=False)
    try:
        return MLClient.from_config(credential, enable_telemetry=False)
    except ValidationException as exc:
        raise UsageError(
            "no workspace of Azure ML is named: say --subscription, --resource-group and --workspace, set AZURE_SUBSCRIPTION_ID, "
            "AZUREML_RESOURCE_GROUP and AZUREML_WORKSPACE_NAME, or put the workspace's config.json here"
        ) from exc


@contextmanager
def azure_errors(doing: str) -> Iterator[None]:
    """What the library raises, as a `UsageError` that says what was being done."""
    try:
        from azure.ai.ml.exceptions import MlException
        from azure.core.exceptions import AzureError, ClientAuthenticationError
        from marshmallow import ValidationError
    except ImportError as exc:
        raise UsageError(MISSING) from exc
    try:
        yield
    except ClientAuthenticationError as exc:
        raise UsageError(
            f"{doing}: Azure knows nobody here. Sign in with `az login`, or set AZURE_CLIENT_ID and its like"
        ) from exc
    except (AzureError, MlException, ValidationError) as exc:
        raise UsageError(f"{doing}: {_brief(str(exc))}") from exc


def _brief(text: str) -> str:
    """The lines of a message that say something: the library draws frames around them."""
    lines = [line.strip() for line in text.splitlines()]
    return " ".join(line for line in lines if line.strip("-=*# "))[:1000] or "no reason was given"

"""Options that several commands for Azure ML share."""

from typing import Annotated

import typer

PANEL = "Workspace of Azure ML [default: config.json, here or in a folder above]"

Subscription = Annotated[
    str | None, typer.Option(help="Id of its subscription [default: AZURE_SUBSCRIPTION_ID].", rich_help_panel=PANEL)
]
ResourceGroup = Annotated[str | None, typer.Option(help="[default: AZUREML_RESOURCE_GROUP]", rich_help_panel=PANEL)]
WorkspaceName = Annotated[
    str | None, typer.Option("--workspace", help="Its name [default: AZUREML_WORKSPACE_NAME].", rich_help_panel=PANEL)
]
Stream = Annotated[bool, typer.Option("--stream/--no-stream", help="Follow a job's log until it ends.")]

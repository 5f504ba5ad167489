"""`parallax azureml`: data and YAML for a workspace of Azure ML."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.cli_options import SeveralValues
from models.sources import local
from training.azureml.cli_options import ResourceGroup, Stream, Subscription, WorkspaceName

if TYPE_CHECKING:
    from training.azureml.layout import Record

azureml_app = typer.Typer(
    no_args_is_help=True, help="Azure ML: prepare and upload data, submit jobs, environments and endpoints."
)

SOURCES = (
    "zips or folders of class folders, folders of such zips, addresses of zips, kaggle:OWNER/NAME; SOURCE#SPLIT where it holds "
    "several splits."
)


@azureml_app.callback()
def azureml() -> None:
    """Azure ML: prepare and upload data, submit jobs, environments and endpoints."""


@azureml_app.command(cls=SeveralValues)
def data(
    data: Annotated[list[str], typer.Option(help=f"Labelled images: {SOURCES}", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the prepared data, new or empty.")],
    test: Annotated[list[str], typer.Option(help="A test set, which is prepared too, and never trained on.")] = [],  # noqa: B006
    exclude: Annotated[list[str], typer.Option(help="Further test sets: none of their images is trained on.")] = [],  # noqa: B006
    leave_out: Annotated[list[str], typer.Option(help="CLASS/FILE to leave out of training, as in sea/1.jpg.")] = [],  # noqa: B006
    skip_unreadable: Annotated[bool, typer.Option(help="Go on without images that can't be decoded.")] = False,
    name: Annotated[str, typer.Option(help="Beginning of the data assets' names.")] = "parallax",
    upload: Annotated[
        bool | None,
        typer.Option("--upload/--no-upload", help="Make data assets [default: if options name a workspace].", show_default=False),
    ] = None,
    subscription: Subscription = None,
    resource_group: ResourceGroup = None,
    workspace: WorkspaceName = None,
) -> None:
    """Cut images into training and validation as `parallax train` does, for Azure's AutoML and for jobs.

    Class folders, and beside them an annotations.jsonl and an MLTable of each split. With a workspace they become data assets
    NAME-images, NAME-train, NAME-validation and NAME-test, whose version is the digest of what is in them. What was prepared or
    uploaded before is found and not done again. Without --upload nothing of Azure is needed.
    """
    from training.azureml.prepare import prepare
    from training.azureml.submit import require
    from training.progress import advance_bar, bar

    wanted = upload if upload is not None else bool(subscription or resource_group or workspace)
    if wanted:
        require()
    with bar("images") as progress:
        record = prepare(
            local(data),
            out,
            test=local(test),
            excluded=local(exclude),
            left_out=leave_out,
            skip_unreadable=skip_unreadable,
            progress=lambda text, total: advance_bar(progress, text, total),
        )
    _tell(record)
    if wanted:
        from training.azureml.assets import upload as send
        from training.azureml.workspace import connect, named

        sent = send(connect(named(subscription, resource_group, workspace)), out, record, name, tell=_say)
        for reference in (sent.images, *sent.tables.values()):
            typer.echo(reference)


@azureml_app.command(cls=SeveralValues)
def submit(
    file: Annotated[Path, typer.Argument(help="A YAML file, as those of training/azureml/.", exists=True, dir_okay=False)],
    change: Annotated[
        list[str], typer.Option("--set", help="KEY=VALUE to change in it, as in inputs.seed=3 or compute=azureml:gpu.")
    ] = [],  # noqa: B006
    check: Annotated[bool, typer.Option("--check", help="Only say whether it holds up; nothing is sent.")] = False,
    stream: Stream = True,
    subscription: Subscription = None,
    resource_group: ResourceGroup = None,
    workspace: WorkspaceName = None,
) -> None:
    """Send a job, component, environment, data asset, endpoint or deployment to the workspace.

    The file is looked at first, for what Azure would refuse minutes later: names that nothing defines, inputs that a component
    does not have, networks that AutoML does not have, files that are not there. Ctrl-C ends the log, not the job.
    """
    from training.azureml.submit import changes, load, require
    from training.azureml.submit import submit as send
    from training.azureml.workspace import connect, named

    require()
    changed = changes(change)
    if check:
        load(file, changed)
        typer.echo(f"{file}: it holds up")
        return
    typer.echo(send(connect(named(subscription, resource_group, workspace)), file, changed, stream=stream, tell=_say))


def _tell(record: "Record") -> None:
    counts = record.counts
    _say(
        f"{counts.found:,} images of {len(record.labels)} classes ({', '.join(record.labels)}): {counts.train:,} to train, "
        f"{counts.validation:,} to validate, {record.test_images:,} to test; dropped: {counts.left_out} by name, "
        f"{counts.unreadable} unreadable, {counts.in_excluded_set} also in a test set, "
        f"{counts.conflicting_duplicates} duplicates under two labels"
    )


def _say(line: str) -> None:
    typer.echo(line, err=True)

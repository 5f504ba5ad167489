"""`parallax train ... --on azureml`: the same command line, run by a job of Azure ML."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models.cli_options import SeveralValues
from models.errors import UsageError
from models.sources import local
from models.workspace import data_dir
from training.azureml.cli_options import ResourceGroup, Stream, Subscription, WorkspaceName
from training.azureml.workspace import Client

ELSEWHERE = "With --on azureml"
HERE_ONLY = ("resume", "store", "usd_per_hour", "teacher", "distill_weight", "skip_unreadable", "track", "experiment")
"""What works on this machine alone: a job has no store with a teacher, and Azure ML tracks it in an experiment of its own."""
SENT_APART = ("data", "exclude", "leave_out", "name")


def _options(
    on: Annotated[Literal["here", "azureml"], typer.Option(help="Where to train.")] = "here",
    compute: Annotated[
        str | None, typer.Option(help="The cluster to run on [default: as the job's YAML says].", rich_help_panel=ELSEWHERE)
    ] = None,
    size: Annotated[
        Literal["small", "large"],
        typer.Option(help="Of Azure's own AutoML job: training/azureml/automl/*.yml.", rich_help_panel=ELSEWHERE),
    ] = "small",
    stream: Stream = True,
    subscription: Subscription = None,
    resource_group: ResourceGroup = None,
    workspace: WorkspaceName = None,
) -> None:
    """What a command that can run elsewhere takes besides its own options."""


class HereOrOnAzure(SeveralValues):
    """A command of `parallax train` that a pipeline of `training/azureml/pipelines/`, or Azure's AutoML, can run too."""

    def __init__(self, name: str | None, *, params: list[Any] | None = None, **more: Any) -> None:  # noqa: ANN401  # as typer has it
        made = typer.Typer(add_completion=False)
        made.command()(_options)
        extra = [one for one in typer.main.get_command(made).params if one.name != "help"]
        if name != "automl":
            extra = [one for one in extra if one.name != "size"]
        self._elsewhere = [str(one.name) for one in extra]
        super().__init__(name, params=[*(params or []), *extra], **more)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # types that typer keeps to itself
        chosen = {name: ctx.params.pop(name) for name in self._elsewhere}
        if chosen.pop("on") == "here":
            return super().invoke(ctx)
        said = {one.name: one for one in self.params if ctx.get_parameter_source(one.name).name == "COMMANDLINE"}
        refused = [f"--{name.replace('_', '-')}" for name in HERE_ONLY if name in said]
        if refused:
            raise UsageError(f"{', '.join(refused)} can't go with --on azureml: that works on this machine only")
        options = [word for name, one in said.items() if name not in (*SENT_APART, *chosen, "on") for word in _words(one, ctx)]
        run(str(self.name), ctx.params, options, chosen)
        return None


def run(command: str, params: Mapping[str, Any], options: Sequence[str], chosen: Mapping[str, Any]) -> None:
    """Send the data, then the job, and follow it. `options`: of the command line, those that the job passes on."""
    from training.azureml.submit import require
    from training.azureml.workspace import connect, named

    require()
    client = connect(named(chosen["subscription"], chosen["resource_group"], chosen["workspace"]))
    if command == "automl":
        typer.echo(_automl(client, params, options, chosen))
    else:
        typer.echo(_pipeline(client, command, params, options, chosen))


def _pipeline(client: Client, command: str, params: Mapping[str, Any], options: Sequence[str], chosen: Mapping[str, Any]) -> str:
    from training.azureml.gather import gather
    from training.azureml.submit import HERE, submit
    from training.progress import advance_bar, bar

    folder = data_dir() / "azureml"
    with bar("images") as progress:
        photos, test = (
            gather(local(params[key]), folder, left_out=out, progress=lambda text, total: advance_bar(progress, text, total))
            if params[key]
            else None
            for key, out in (("data", params["leave_out"]), ("exclude", ()))
        )
    changed: dict[str, Any] = {"inputs.photos.path": str(photos)}
    if test is not None:
        changed |= {"inputs.test.type": "uri_folder", "inputs.test.path": str(test)}
        changed |= {"jobs.prepare.inputs.test": "${{parent.inputs.test}}"}
    if options:
        changed["jobs.train.inputs.options"] = shlex.join(options)
    if params["name"]:
        changed |= {"inputs.name": params["name"], "outputs.model.name": f"parallax-{params['name']}"}
    if chosen["compute"]:
        changed["settings.default_compute"] = f"azureml:{chosen['compute']}"
    return submit(client, HERE / "pipelines" / f"{command}.yml", changed, stream=chosen["stream"], tell=_say)


def _automl(client: Client, params: Mapping[str, Any], options: Sequence[str], chosen: Mapping[str, Any]) -> str:
    """Azure's own AutoML searches by its own rules, so options of our sweep are refused rather than ignored."""
    from training.azureml.assets import upload
    from training.azureml.prepare import prepare
    from training.azureml.submit import submit_automl
    from training.progress import advance_bar, bar

    if options:
        raise UsageError(f"Azure's own AutoML does not know {shlex.join(options)}; change its YAML, with parallax azureml submit")
    name = params.get("name") or "parallax"
    folder = data_dir() / "azureml" / name
    with bar("images") as progress:
        record = prepare(
            local(params["data"]),
            folder,
            excluded=local(params["exclude"]),
            left_out=params["leave_out"],
            progress=lambda text, total: advance_bar(progress, text, total),
        )
    sent = upload(client, folder, record, name, tell=_say)
    changed = {"compute": f"azureml:{chosen['compute']}"} if chosen["compute"] else {}
    tables = sent.tables["train"], sent.tables["validation"]
    return submit_automl(client, chosen["size"], *tables, changed, stream=chosen["stream"], tell=_say)


def _words(option: Any, ctx: Any) -> list[str]:  # noqa: ANN401  # types that typer keeps to itself
    """An option as it stands on a command line."""
    value = ctx.params[option.name]
    if isinstance(value, bool):
        return [option.opts[0] if value else option.secondary_opts[0]]
    if isinstance(value, str | Path) and Path(value).exists():
        raise UsageError(f"{option.opts[0]} {value} is a file of this machine: name what the job has too")
    return [word for one in (value if isinstance(value, list | tuple) else [value]) for word in (option.opts[0], str(one))]


def _say(line: str) -> None:
    typer.echo(line, err=True)

"""`parallax customvision`: into Azure Custom Vision, and out of it."""

from pathlib import Path
from typing import Annotated

import typer

from models.cli_options import SeveralValues
from models.sources import local
from models.workspace import data_dir
from training.customvision.access import PREDICTION_RESOURCE, PROJECT, PUBLISHED_NAME, prediction_access, said
from training.customvision.cli_home import mount
from training.customvision.cli_options import (
    Endpoint,
    IterationName,
    KeyFile,
    PredictionEndpoint,
    PredictionKeyFile,
    Project,
    TierName,
    Workers,
    say,
    tell_problems,
    tier_of,
    training_resource,
)

customvision_app = typer.Typer(
    no_args_is_help=True, help="Azure Custom Vision: upload, train, publish, score, export; import what it exported, pull images."
)


@customvision_app.callback()
def customvision() -> None:
    """Azure Custom Vision, which ends on 25 September 2028: fill a project, train, publish, score, and take everything home.

    The training resource is PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT with PARALLAX_CUSTOM_VISION_TRAINING_KEY; the resource for
    predictions is PARALLAX_CUSTOM_VISION__ENDPOINT with PARALLAX_CUSTOM_VISION__KEY, as for `parallax serve`. A key is no option.
    """


@customvision_app.command(cls=SeveralValues)
def upload(
    project: Project,
    data: Annotated[list[str], typer.Option(help="Labelled images: zips or folders of class folders, addresses; SOURCE#SPLIT.")],
    domain: Annotated[
        str | None, typer.Option(help="Of a new project, by name or id [default: General (compact)].", show_default=False)
    ] = None,
    tier: TierName = "S0",
    workers: Workers = 4,
    endpoint: Endpoint = None,
    key_file: KeyFile = None,
) -> None:
    """Create a project, a tag for every class folder, and send the images, each once.

    What is there already is not sent again, also after a kill: the same command goes on. Copies of an image are sent once, and
    not at all if they stand under two labels. WebP, and what is over 6 MB or 10,240 pixels a side, is encoded anew. The exit
    status is 1 if an image did not get there. Projects of tier F0 hold 5,000 images and 50 tags; say --tier F0 to be told before.
    """
    from training.customvision.survey import survey, total
    from training.customvision.upload import upload as send
    from training.progress import bar

    sources = local(data)
    service = training_resource(endpoint, key_file, chosen := tier_of(tier))
    with bar("images") as progress:
        task = progress.add_task("read", total=total(sources))
        found = survey(sources, lambda: progress.advance(task))
        task = progress.add_task("upload", total=len(found.labels))
        folder = data_dir() / "customvision"
        done = send(
            service,
            project,
            sources,
            found,
            folder,
            domain=domain,
            tier=chosen,
            workers=workers,
            step=lambda count: progress.advance(task, count),
        )
    name = f"{'new ' if done.created else ''}project {done.project.name} ({done.project.id})"
    say(
        f"{name}: {done.sent:,} images sent, of which it had {done.duplicates:,}; {done.present:,} were there; "
        f"{found.same:,} copies left out; {len(done.problems):,} failed"
    )
    typer.echo(done.project.id)
    tell_problems(done.problems, folder / done.project.id / "upload-problems.txt")


@customvision_app.command()
def train(
    project: Project,
    budget_hours: Annotated[
        int | None, typer.Option(min=1, help="Hours that an advanced training may cost [default: a quick training].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Train even if no image has changed.")] = False,
    timeout_hours: Annotated[float, typer.Option(min=0, help="When to stop waiting; the training goes on.")] = 24.0,
    endpoint: Endpoint = None,
    key_file: KeyFile = None,
) -> None:
    """Train a project and wait for the end. Prints the iteration's id, and precision and recall of each tag.

    A training that is on already is followed, so the same command goes on after Ctrl-C. The service's figures are taken on images
    that it was trained with; `parallax customvision score` takes them on yours.
    """
    from training.customvision.iterations import follow, performance
    from training.customvision.iterations import train as begin
    from training.customvision.projects import require
    from training.customvision.tables import print_performance

    service = training_resource(endpoint, key_file)
    found = require(service, project)
    started = begin(service, found, budget_hours=budget_hours, force=force, tell=say)
    trained = follow(service, found, started, timeout_s=timeout_hours * 3600, tell=say)
    print_performance(f"{trained.name} of {found.name}", performance(service, found, trained))
    typer.echo(trained.id)


@customvision_app.command()
def publish(
    project: Project,
    name: Annotated[str, typer.Option(help="What callers will ask for.")],
    prediction_resource: Annotated[
        str | None,
        typer.Option(
            help=f"The prediction resource's id in Azure, /subscriptions/... [default: {PREDICTION_RESOURCE}].",
            show_default=False,
        ),
    ] = None,
    iteration: IterationName = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the name from the iteration that has it.")] = False,
    endpoint: Endpoint = None,
    key_file: KeyFile = None,
) -> None:
    """Publish an iteration to a prediction resource under a name."""
    from training.customvision import projects
    from training.customvision.iterations import publish as make_public

    service = training_resource(endpoint, key_file)
    resource = said(prediction_resource, PREDICTION_RESOURCE, "--prediction-resource")
    found = projects.require(service, project)
    chosen = projects.iteration(service, found, iteration)
    new = make_public(service, found, chosen, name, resource, overwrite=overwrite)
    say(f"{chosen.name} of {found.name} is {'now' if new else 'already'} published as {name}")
    typer.echo(found.id)


@customvision_app.command(cls=SeveralValues)
def score(
    test: Annotated[list[str], typer.Option(help="Labelled images: zips or folders of class folders, addresses; SOURCE#SPLIT.")],
    project: Annotated[str | None, typer.Option(help=f"Its id [default: {PROJECT}].", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help=f"The published name [default: {PUBLISHED_NAME}].", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File for the answers, JSONL; the summary stands beside it as .json [default: in PARALLAX_DATA_DIR]."),
    ] = None,
    tier: TierName = "S0",
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Calls a second [default: the tier's].", show_default=False)
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Let the service keep the images for 30 days, at half the rate.")
    ] = False,
    workers: Workers = 8,
    usd_per_1000: Annotated[float | None, typer.Option(min=0, help="What a thousand predictions cost.")] = None,
    endpoint: PredictionEndpoint = None,
    key_file: PredictionKeyFile = None,
) -> None:
    """Ask a published iteration about labelled images: accuracy, who is taken for whom, latency and cost.

    No faster than the tier allows, with new attempts after refusals and failures. Answers are kept as they come: the same command
    goes on after a kill and asks about no image twice. The exit status is 1 if images have no answer.
    """
    from models.custom_vision_limits import LIMITS
    from training.customvision.client import prediction_service
    from training.customvision.rate import Rate
    from training.customvision.score import score as ask
    from training.customvision.tables import print_tally
    from training.progress import bar

    chosen = tier_of(tier)
    limits = LIMITS[chosen]
    per_second = rate or (limits.stored_prediction_rate if store else limits.prediction_rate)
    service = prediction_service(prediction_access(endpoint, key_file), Rate(per_second))
    sources = local(test)
    project_id = said(project, PROJECT, "--project")
    published = said(name, PUBLISHED_NAME, "--name")
    with bar("images") as progress:
        task = progress.add_task("score", total=None)
        tally, problems, file = ask(
            service,
            project_id,
            published,
            sources,
            data_dir() / "customvision",
            out=out,
            tier=chosen,
            store=store,
            workers=workers,
            usd_per_1000=usd_per_1000,
            step=lambda done, total: progress.update(task, completed=done, total=total),
        )
    summary = file.with_suffix(".json")
    summary.write_text(tally.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print_tally(tally)
    typer.echo(f"{summary}")
    tell_problems(problems, file.with_name(f"{file.stem}-problems.txt"))


mount(customvision_app)

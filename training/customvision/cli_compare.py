"""`parallax customvision compare`: whether a backend of ours can take the place of the rented one."""

import os
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from models.errors import UsageError
from models.workspace import data_dir

KEY = "PARALLAX_API_KEY"


def compare(
    backend: Annotated[str, typer.Option(help="The backend that could take its place, as in transfer.")],
    sample: Annotated[
        str,
        typer.Option(help="Images as your users send them: a folder, or, labelled, a zip or folder of class folders."),
    ],
    cloud: Annotated[str, typer.Option(help="The rented backend.")] = "custom_vision",
    server: Annotated[str, typer.Option(help="The running service.")] = "http://127.0.0.1:8000",
    monthly_images: Annotated[int, typer.Option(min=1, help="Images a month, for the bill.")] = 100_000,
    usd_per_1000: Annotated[
        float | None,
        typer.Option(min=0, help="What a thousand calls cost [default: PARALLAX_CUSTOM_VISION__USD_PER_1000 of the service]."),
    ] = None,
    usd_per_hour: Annotated[
        float | None,
        typer.Option(min=0, help="What the service's machine costs an hour [default: that of two cores]."),
    ] = None,
    margin: Annotated[float, typer.Option(min=0, help="Points of accuracy that you would give up.")] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Images at most, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Images at the same time; latency is best measured with 1.")] = 4,
    out: Annotated[
        Path | None, typer.Option(help="The report as JSON [default: customvision/compare-TIME.json in PARALLAX_DATA_DIR].")
    ] = None,
) -> None:
    """Show the same images to Custom Vision and to a backend of ours, through a running service, and weigh them.

    Agreement, each label's share, latency, the bill of a month; with labelled images also the accuracy of both and whether ours
    is good enough, with how certain that is. Every image costs a call of the rented one. Needs a service that serves both; its
    key, if it has any, is PARALLAX_API_KEY.
    """
    from models import prices
    from training.customvision.comparison import Side, comparison, tell
    from training.customvision.duel import Duel, Round
    from training.customvision.duel import sample as images_of
    from training.customvision.findings import findings, usd_a_month
    from training.customvision.parallel import in_parallel
    from training.progress import bar, console

    if backend == cloud:
        raise UsageError("--backend and --cloud are the same")
    count, images = images_of(sample)
    chosen = set(random.Random(seed).sample(range(count), min(limit or count, count)))  # noqa: S311  # no secret
    with Duel(server, os.environ.get(KEY, ""), cloud, backend) as duel, bar("images") as progress:
        rented, ours = duel.backends()
        labels = [one.get("labels") or [] for one in (rented, ours)]
        if all(labels) and not set.intersection(*map(set, labels)):
            raise UsageError(f"the two have no label in common: {', '.join(labels[0])} and {', '.join(labels[1])}")
        task = progress.add_task("compare", total=len(chosen))
        rounds: list[Round] = []
        for one in in_parallel(duel.ask, (image for number, image in enumerate(images) if number in chosen), workers):
            rounds.append(one)
            progress.advance(task)
    found = findings(sorted(rounds, key=lambda one: one.path))
    if found is None:
        why = ", ".join(sorted({str(side) for one in rounds for side in (one.cloud, one.local) if isinstance(side, str)}))
        raise UsageError(f"there is no image that both answered ({why})")
    price = usd_per_1000 if usd_per_1000 is not None else rented.get("remote", {}).get("usd_per_1000")
    hourly = usd_per_hour if usd_per_hour is not None else prices.usd_per_hour(2)
    report = comparison(
        Side(
            backend=cloud,
            version=rented["version"],
            kind=rented["kind"],
            usd_a_month=usd_a_month(monthly_images, usd_per_1000=price),
        ),
        Side(
            backend=backend,
            version=ours["version"],
            kind=ours["kind"],
            usd_a_month=usd_a_month(monthly_images, usd_per_hour=hourly),
        ),
        Path(sample).name,
        monthly_images,
        margin / 100,
        found,
    )
    tell(report, out or data_dir() / "customvision" / f"compare-{datetime.now(UTC):%Y%m%d-%H%M%S}.json", console)

"""Options that the commands of `parallax customvision` share, what they make of them, and how they speak."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import UsageError
from training.customvision.access import (
    PREDICTION_ENDPOINT,
    PREDICTION_KEY,
    TRAINING_ENDPOINT,
    TRAINING_KEY,
    training_access,
)

if TYPE_CHECKING:
    from models.custom_vision_limits import Tier
    from training.customvision.client import Service
    from training.customvision.survey import Problem

SHOWN = 20
"""Problems that are printed; a file has all."""

Project = Annotated[str, typer.Argument(help="Name or id of the project.")]

Endpoint = Annotated[
    str | None,
    typer.Option(
        help=f"The training resource, as in https://NAME.cognitiveservices.azure.com [default: {TRAINING_ENDPOINT}].",
        show_default=False,
    ),
]

KeyFile = Annotated[
    Path | None,
    typer.Option(help=f"A file that holds its key [default: the key is in {TRAINING_KEY}].", show_default=False),
]

PredictionEndpoint = Annotated[
    str | None, typer.Option(help=f"The prediction resource [default: {PREDICTION_ENDPOINT}].", show_default=False)
]

PredictionKeyFile = Annotated[
    Path | None,
    typer.Option(help=f"A file that holds its key [default: the key is in {PREDICTION_KEY}].", show_default=False),
]

IterationName = Annotated[
    str | None, typer.Option(help="Its name, id or published name [default: the newest that is trained].", show_default=False)
]

TierName = Annotated[str, typer.Option(help="Of the resource, F0 or S0: what it holds, and how fast it may be asked.")]

Workers = Annotated[int, typer.Option(min=1, max=64, help="Calls at the same time.")]


def training_resource(endpoint: str | None, key_file: Path | None, tier: "Tier" = "S0") -> "Service":
    """A client of the training resource, under the tier's rate."""
    from models.custom_vision_limits import LIMITS
    from training.customvision.client import training_service
    from training.customvision.rate import Rate

    return training_service(training_access(endpoint, key_file), Rate(LIMITS[tier].training_rate))


def tier_of(text: str) -> "Tier":
    """Raises `UsageError` for one that there is not."""
    from models.custom_vision_limits import LIMITS

    found = next((tier for tier in LIMITS if tier == text.upper()), None)
    if found is None:
        raise UsageError(f"--tier {text}: tiers are {', '.join(LIMITS)}")
    return found


def tell_problems(problems: "list[Problem]", file: Path) -> None:
    """Print the first, keep all, and end with status 1 if there are any."""
    if not problems:
        file.unlink(missing_ok=True)
        return
    lines = [f"{one.path}: {one.reason}" for one in problems]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines[:SHOWN]:
        say(line)
    say(f"{len(lines):,} images failed; all are named in {file}")
    raise typer.Exit(1)


def say(line: str) -> None:
    """To standard error: what scripts read goes to the other."""
    typer.echo(line, err=True)

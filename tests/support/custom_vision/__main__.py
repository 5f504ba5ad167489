"""The stand-in by itself: `python -m tests.support.custom_vision --label forest --label street`. It prints how to reach it."""

import json
from typing import Annotated

import typer
import uvicorn

from tests.support.custom_vision.accounts import app
from tests.support.custom_vision.faults import Faults, parsed
from tests.support.custom_vision.prediction import Predictions
from tests.support.custom_vision.script import Script
from tests.support.custom_vision.state import PREDICTION_KEY, TRAINING_KEY, Account
from tests.support.custom_vision.training import training_routes


def main(
    label: Annotated[list[str], typer.Option(help="A tag of the project, darkest first; give two or more.")],
    tier: Annotated[str, typer.Option(help="F0 or S0.")] = "S0",
    factor: Annotated[float, typer.Option(help="By which the tier's rates are multiplied.")] = 1.0,
    fault: Annotated[list[str] | None, typer.Option(help="500, html, empty, null, capital, hang or redirect=share.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws of faults.")] = 0,
    name: Annotated[str, typer.Option(help="The published name.")] = "production",
    port: Annotated[int, typer.Option(help="To listen on.")] = 5001,
) -> None:
    """Serve one published iteration that goes by brightness, and an empty training resource, until it is stopped.

    Then tell what it was asked.
    """
    account = Account(tier="F0" if tier == "F0" else "S0")
    project = account.published(label, name)
    predictions = Predictions(account, factor=factor, faults=Faults(parsed(fault or []), seed))
    settings = {"ENDPOINT": f"http://127.0.0.1:{port}", "KEY": PREDICTION_KEY, "PROJECT": project.id, "PUBLISHED_NAME": name}
    training = {"ENDPOINT": f"http://127.0.0.1:{port}", "KEY": TRAINING_KEY}
    lines = [f"PARALLAX_CUSTOM_VISION__{key}={value}" for key, value in settings.items()]
    lines += [f"PARALLAX_CUSTOM_VISION_TRAINING_{key}={value}" for key, value in training.items()]
    print(*(f"export {line}" for line in lines), sep="\n", flush=True)
    uvicorn.run(app(predictions, training_routes(account, Script())), port=port, log_level="warning")
    counted = {"asked": len(predictions.asked), "predicted": len(predictions.predicted), "busiest": predictions.busiest_second}
    print(json.dumps(counted), flush=True)


typer.run(main)

"""Once for the docs: thousands of images through two replicas on one PostgreSQL, to a stand-in that throttles and breaks.

python -m tests.support.custom_vision.endurance --images 3000
"""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, get_args

import typer

from service.tally import Outcome
from tests.support import postgres
from tests.support.custom_vision.accounts import serving_account
from tests.support.custom_vision.faults import Faults, Kind
from tests.support.custom_vision.hammer import hammer
from tests.support.custom_vision.state import PREDICTION_KEY, Account
from tests.support.server import Server, eventually, serving

BROKEN: dict[Kind, float] = {"500": 0.05, "hang": 0.01, "html": 0.01, "empty": 0.01, "null": 0.01}
LABELS = ["dark", "grey", "bright"]


def main(
    images: Annotated[int, typer.Option(help="How many, over both replicas.")] = 3000,
    factor: Annotated[float, typer.Option(help="By which the rate of S0, 20 a second, is multiplied.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws of faults.")] = 0,
) -> None:
    """Print what was sent and what came of it."""
    programs = postgres.binaries()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed")
    account = Account()
    project = account.published(LABELS)
    with ExitStack() as stack:
        there = stack.enter_context(serving_account(account, factor=factor, faults=Faults(seed=seed)))
        settings = {
            "database_url": stack.enter_context(postgres.running(programs)),
            "custom_vision__endpoint": there.url,
            "custom_vision__key": PREDICTION_KEY,
            "custom_vision__project": project.id,
            "custom_vision__published_name": "production",
            "custom_vision__rate": round(20 * factor),
            "custom_vision__attempt_timeout_s": 2,
            "custom_vision__timeout_s": 60,
        }
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = [stack.enter_context(serving(folder / name, clean=False, **settings)) for name in ("one", "two")]
        for server in servers:
            eventually(lambda server=server: _ready(server), "it has answered")  # type: ignore[misc]
        before = len(there.predictions.predicted)
        there.predictions.faults.rates = BROKEN
        began = time.monotonic()
        answers = hammer([server.url for server in servers], images)
        told = {
            "answers": dict(answers),
            "seconds": round(time.monotonic() - began, 1),
            "requests": len(there.predictions.asked),
            "predicted": len(there.predictions.predicted) - before,
            "throttled": sum(one.status == 429 for one in there.predictions.asked),
            "busiest_second": there.predictions.busiest_second,
            "outcomes": [{outcome: _calls(server, outcome) for outcome in get_args(Outcome)} for server in servers],
        }
    print(json.dumps(told, indent=1))


def _ready(server: Server) -> bool:
    return bool(server.backend("custom_vision")["state"] == "ready")


def _calls(server: Server, outcome: str) -> int:
    return int(server.metric("parallax_remote_calls_total", backend="custom_vision", outcome=outcome))


if __name__ == "__main__":
    typer.run(main)

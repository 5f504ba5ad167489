"""Both contracts of one account, behind one real server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from tests.support.custom_vision.faults import Faults
from tests.support.custom_vision.prediction import Predictions
from tests.support.custom_vision.script import Script
from tests.support.custom_vision.server import serving
from tests.support.custom_vision.state import Account
from tests.support.custom_vision.training import training_routes


@dataclass(frozen=True)
class Served:
    """A server that listens."""

    url: str
    predictions: Predictions


def app(predictions: Predictions, more: Sequence[BaseRoute] = (), base: str = "") -> Starlette:
    """An application with the prediction routes, and others that come before them. `base`: a path before all."""
    routes = [*more, *predictions.routes]
    return Starlette(routes=[Mount(base, routes=routes)] if base else routes)


def both(account: Account, script: Script) -> Starlette:
    """Training and prediction of one account under one test's play, as fast as one likes."""
    return app(Predictions(account, factor=1000, interferes=script.interferes), training_routes(account, script))


@contextmanager
def serving_account(
    account: Account, *, faults: Faults | None = None, factor: float = 1.0, more: Sequence[BaseRoute] = (), port: int = 0
) -> Iterator[Served]:
    """Serve an account for the length of a block. `more`: the training contract's routes."""
    predictions = Predictions(account, faults=faults or Faults(), factor=factor)
    with serving(app(predictions, more), port) as url:
        yield Served(url, predictions)

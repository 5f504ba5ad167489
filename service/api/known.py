"""Parameters that a route does not know are refused: misspelt, `?bakcend=cnn` would be answered by the default backend."""

from collections.abc import Collection, Iterable, Iterator

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request

from service.errors import BadParameter


async def known_parameters(request: Request) -> None:  # FastAPI would run a plain function on a thread
    """A dependency of routers. Raises `BadParameter` for a query parameter that the route does not have."""
    if request.query_params:
        route: APIRoute = request.scope["route"]
        refuse_others(request.query_params, list(_aliases(route.dependant)))


def refuse_others(given: Iterable[str], known: Collection[str]) -> None:
    """Raise `BadParameter` for the first name that is not known."""
    for name in given:
        if name not in known:
            those = f"its parameters are {', '.join(known)}" if known else "it has no parameters"
            raise BadParameter(f"{name[:40]!r} is no parameter of this route; {those}.")


def _aliases(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for inner in dependant.dependencies:
        yield from _aliases(inner)

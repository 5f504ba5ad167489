"""A route for calls that come by the thousand: described as FastAPI describes every route, handled without its machinery.

FastAPI solves dependencies, keeps two exit stacks and copies the response for each call, which costs more than the decoding of
a small photograph. Guard, limits, problems and metrics stand before all routes, in the edge, so that nothing is lost here.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.known import refuse_others

KNOWN_QUERIES = 256
"""Query strings whose parsing is remembered: most callers send the same one all day."""


class ThinRoute(APIRoute):
    """Calls `endpoint(request)`, or `endpoint(request, query)`.

    `query` is a pydantic model of the query string, as in `Annotated[Model, Query()]`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401  # FastAPI's own
        super().__init__(path, endpoint, **options)
        wanted = inspect.get_annotations(endpoint, eval_str=True).get("query")

        @lru_cache(maxsize=KNOWN_QUERIES)
        def parse(query_string: bytes) -> tuple[BaseModel, ...]:
            return (_parse(wanted.__origin__, query_string),) if wanted else ()

        self._parse = parse

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Parse the query, call the endpoint, send its response. Raises `RequestValidationError` and what the endpoint raises."""
        if scope["method"] in (self.methods or ()):
            await self.call(scope, receive, send)
        else:
            await super().handle(scope, receive, send)  # 405

    async def call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`handle`, for who has looked at the method and stands outside the router: `scope["app"]` must be set."""
        response: Response = await self.endpoint(Request(scope, receive, send), *self._parse(scope["query_string"]))
        await response(scope, receive, send)


class ThinResponse(Response):
    """JSON with status 200, and one header more."""

    def __init__(self, content: object, name: bytes, value: str) -> None:
        """`content` is what JSON knows, and nothing else."""
        self.body = to_json(content)
        self.status_code = 200
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body)).encode()),
            (name, value.encode("latin-1")),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


def _parse(model: type[BaseModel], query_string: bytes) -> BaseModel:
    given = dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
    refuse_others(given, model.model_fields)
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        errors = [{**error, "loc": ("query", *error["loc"])} for error in exc.errors()]
        raise RequestValidationError(errors) from None

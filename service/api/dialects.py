"""Families of routes that check their callers and word their errors in a way of their own."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.responses import Response


class Dialect(NamedTuple):
    """One such way."""

    check: Callable[[Mapping[bytes, bytes]], str]
    """Request headers -> the name of the caller's key, empty if none is needed. Raises `MissingKey` or `ForeignOrigin`."""
    respond: Callable[[Exception, str], Response]
    """The response for an error, under a request id."""

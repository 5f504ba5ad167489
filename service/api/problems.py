"""The one table from errors to status codes, and RFC 9457 bodies made from it. OpenAPI's `responses` come from it too."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models import errors as shared
from models.errors import ParallaxError
from service import errors
from service.api.schemas import Problem
from service.errors import Overloaded

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What every occurrence of an error has in common."""

    status: int
    code: str
    title: str


TABLE: Mapping[type[ParallaxError], ProblemType] = {
    shared.EmptyImage: ProblemType(400, "empty-image", "The body is empty"),
    shared.UnsupportedImage: ProblemType(415, "unsupported-image", "Not an image that Parallax reads"),
    shared.BrokenImage: ProblemType(422, "broken-image", "The image is truncated or corrupt"),
    shared.UnreadableImage: ProblemType(422, "unreadable-image", "An image of a set can't be read"),
    shared.DatasetError: ProblemType(422, "bad-dataset", "The set can't be used as it is"),
    shared.ImageTooLarge: ProblemType(413, "image-too-large", "The image has too many pixels"),
    shared.ImageTooSmall: ProblemType(422, "image-too-small", "The image has too few pixels"),
    errors.BadHttp: ProblemType(400, "bad-http", "This is not an HTTP request"),
    errors.HeadersTooLarge: ProblemType(431, "headers-too-large", "The headers have too many bytes"),
    errors.HeadersTooSlow: ProblemType(408, "headers-too-slow", "The headers did not arrive in time"),
    errors.BadParameter: ProblemType(422, "bad-parameter", "A parameter makes no sense"),
    errors.BadMultipart: ProblemType(400, "bad-multipart", "The multipart body has no usable image part"),
    errors.BodyTooLarge: ProblemType(413, "body-too-large", "The body has too many bytes"),
    errors.BodyTooSlow: ProblemType(408, "body-too-slow", "The body did not arrive in time"),
    errors.UnknownBackend: ProblemType(404, "unknown-backend", "There is no such backend"),
    errors.UnknownVersion: ProblemType(404, "unknown-version", "That version is not loaded"),
    errors.UnknownProject: ProblemType(404, "unknown-project", "There is no such Custom Vision project"),
    errors.UnknownPublication: ProblemType(404, "unknown-publication", "The project has no such published name"),
    errors.BadImageUrl: ProblemType(400, "bad-image-url", "No image can be had from that address"),
    errors.UnknownDataset: ProblemType(404, "unknown-dataset", "There is no such set"),
    errors.UnmatchedLabels: ProblemType(422, "unmatched-labels", "The set has classes that a backend does not know"),
    errors.UnfinishedScoring: ProblemType(409, "unfinished-scoring", "The scoring job has nothing to report yet"),
    errors.UnknownScoring: ProblemType(404, "unknown-scoring", "There is no such scoring job"),
    errors.KeyReused: ProblemType(422, "key-reused", "The idempotency key came before with another request"),
    errors.FormatUnavailable: ProblemType(501, "format-unavailable", "Rows can't be had in that format here"),
    errors.DatasetsFull: ProblemType(507, "datasets-full", "The uploaded sets take as much room as they may"),
    errors.ReloadRefused: ProblemType(409, "reload-refused", "The new version can't be served"),
    errors.MissingKey: ProblemType(401, "missing-key", "An API key is needed"),
    errors.ForeignOrigin: ProblemType(403, "foreign-origin", "Requests from other sites are refused"),
    errors.QueueFull: ProblemType(429, "queue-full", "The backend's queue is full"),
    errors.UploadsFull: ProblemType(429, "uploads-full", "Too many uploads are under way"),
    errors.RemoteBusy: ProblemType(429, "remote-busy", "The remote backend takes no more for now"),
    errors.RemoteDown: ProblemType(503, "remote-down", "The remote backend fails, and is left alone for a while"),
    errors.BudgetSpent: ProblemType(429, "budget-spent", "The month's calls to the remote backend are spent"),
    errors.NotReady: ProblemType(503, "not-ready", "The backend is not loaded"),
    errors.Closing: ProblemType(503, "closing", "The service is stopping"),
    errors.DeadlineExceeded: ProblemType(504, "deadline-exceeded", "The deadline passed before inference"),
    errors.BackendFailed: ProblemType(500, "backend-failed", "The backend failed"),
    errors.RemoteFailed: ProblemType(502, "remote-failed", "The remote backend failed"),
    errors.RemoteTimedOut: ProblemType(504, "remote-timed-out", "The remote backend took too long"),
    errors.DatabaseFailed: ProblemType(503, "database-failed", "The database can't be reached"),
}

INTERNAL = ProblemType(500, "internal-error", "Something went wrong inside")
FRAMEWORK = {
    404: ("not-found", "There is no such route", "Nothing is at this address. /docs shows what there is."),
    405: ("method-not-allowed", "The route has no such method", "The Allow header names the methods that it has."),
}
"""Code, title, and a detail instead of the framework's, which repeats the status."""


def problem_type(exc: Exception) -> ProblemType:
    """The row of the table for an error, or for the nearest of its ancestors."""
    for kind in type(exc).__mro__:
        if row := TABLE.get(kind):
            return row
    if isinstance(exc, RequestValidationError):
        return TABLE[errors.BadParameter]
    if isinstance(exc, HTTPException):
        phrase = HTTPStatus(exc.status_code).phrase
        code, title, _ = FRAMEWORK.get(exc.status_code, (phrase.lower().replace(" ", "-"), phrase, ""))
        return ProblemType(exc.status_code, code, title)
    return INTERNAL


def problem(exc: Exception, request_id: str) -> dict[str, Any]:
    """The body: RFC 9457, with `code` for programs and `request_id` for the log."""
    row = problem_type(exc)
    return {
        "type": f"urn:parallax:problem:{row.code}",
        "title": row.title,
        "status": row.status,
        "detail": detail(exc),
        "code": row.code,
        "request_id": request_id,
    }


def problem_response(exc: Exception, request_id: str) -> Response:
    """The whole response, with the headers that its status asks for."""
    body = problem(exc, request_id)
    return Response(to_json(body), body["status"], headers_of(exc, body["status"]), MEDIA_TYPE)


def headers_of(exc: Exception, status: int) -> dict[str, str]:
    """What an error's status asks for, whatever its body looks like."""
    headers: dict[str, str] = {}
    if isinstance(exc, HTTPException) and exc.headers:
        headers.update(exc.headers)  # Allow, of a 405
    if isinstance(exc, Overloaded):
        headers["Retry-After"] = str(exc.retry_after)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", "1")
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"  # the rest of that body is not waited for
    return headers


def without_frames(exc: Exception) -> Exception:
    """The same error without the call stack in which it was raised, and with it the image: its reply may take a while."""
    exc.__cause__ = exc.__context__ = None
    return exc.with_traceback(None)


def responses(*kinds: type[ParallaxError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the errors that a route may answer with; those of one status share an entry."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        row = TABLE[kind]
        entry = found.setdefault(
            row.status, {"description": "", "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
        )
        line = f"`{row.code}`: {row.title}."
        entry["description"] = f"{entry['description']} {line}".strip()
        if issubclass(kind, Overloaded):
            entry["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return dict(sorted(found.items()))


def detail(exc: Exception) -> str:
    """What happened, in a sentence for the caller."""
    if isinstance(exc, RequestValidationError):
        places = [(".".join(map(str, error["loc"][1:])), error["msg"]) for error in exc.errors()]
        return "; ".join(f"{place}: {what}" if place else what for place, what in places)
    if isinstance(exc, HTTPException):
        bare = exc.detail == HTTPStatus(exc.status_code).phrase
        return FRAMEWORK[exc.status_code][2] if bare and exc.status_code in FRAMEWORK else str(exc.detail)
    if isinstance(exc, ParallaxError):
        return str(exc)
    return "The log has the cause, under this request id."

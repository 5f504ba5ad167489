"""Errors as Custom Vision words them: flat `{"code", "message"}`, with the codes that its SDK lists.

The service nests its 401 and 429 as `{"error": {...}}`, of which the SDK makes an error without a code; here they are flat too.
"""

from collections.abc import Mapping
from http import HTTPStatus

from pydantic_core import to_json
from starlette.responses import Response

from models import errors as shared
from service import errors
from service.api.problems import detail, headers_of, problem_type

TABLE: Mapping[type[Exception], tuple[int, str]] = {
    shared.ImageError: (400, "BadRequestImageFormat"),
    shared.ImageTooLarge: (400, "BadRequestImageDimensions"),
    shared.ImageTooSmall: (400, "BadRequestImageDimensions"),
    errors.BodyTooLarge: (400, "BadRequestImageSizeBytes"),
    errors.BadMultipart: (400, "BadRequestImageStream"),
    errors.BodyTooSlow: (408, "BadRequestImageStream"),
    errors.BadImageUrl: (400, "BadRequestImageUrl"),
    errors.BadParameter: (400, "BadRequestPredictionInvalidQueryParameters"),
    errors.MissingKey: (401, "401"),
    errors.ForeignOrigin: (403, "Forbidden"),
    errors.UnknownProject: (404, "NotFoundProject"),
    errors.UnknownPublication: (404, "NotFoundIteration"),
    errors.UnknownBackend: (404, "NotFoundIteration"),
    errors.Overloaded: (429, "429"),
    errors.RemoteDown: (503, "ErrorPredictionServiceUnavailable"),
    errors.DatabaseFailed: (503, "ErrorPredictionServiceUnavailable"),
    errors.NotServing: (503, "ErrorPredictionServiceUnavailable"),
    errors.DeadlineExceeded: (504, "ErrorPrediction"),
    errors.Unanswered: (500, "ErrorPrediction"),
    errors.RemoteFailed: (502, "ErrorPrediction"),
    errors.RemoteTimedOut: (504, "ErrorPrediction"),
}

OTHERS: Mapping[int, str] = {404: "NotFound", 405: "BadRequestNotSupported", 415: "UnsupportedMediaType", 422: "BadRequest"}
"""What the framework refuses."""


def error_response(exc: Exception, request_id: str) -> Response:
    """The whole response for an error, with the headers that its status asks for."""
    status, code = _row(exc)
    headers = headers_of(exc, status)
    told = "Send a valid key as `Prediction-Key: KEY`." if isinstance(exc, errors.MissingKey) else detail(exc)
    message = told if status != HTTPStatus.INTERNAL_SERVER_ERROR else f"{told} ({request_id})"
    return Response(to_json({"code": code, "message": message}), status, headers, "application/json")


def _row(exc: Exception) -> tuple[int, str]:
    for kind in type(exc).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    status = problem_type(exc).status
    return status, OTHERS.get(status, "ErrorUnknown" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "BadRequest")

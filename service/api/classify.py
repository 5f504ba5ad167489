"""`POST /v1/classify` and `POST /v1/compare`: an image in, ranked labels out."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models import errors as shared
from models.errors import ImageError
from service import errors
from service.api.problems import problem, responses
from service.api.requests import deadline, request_id, services, unless_gone
from service.api.schemas import Classified, Compared, classified
from service.domain import Prediction
from service.telemetry import milliseconds, server_timing

router = APIRouter(prefix="/v1", tags=["classify"])

IMAGE_ERRORS = (shared.EmptyImage, shared.UnsupportedImage, shared.BrokenImage, shared.ImageTooLarge, shared.ImageTooSmall)
UPLOAD_ERRORS = (errors.BadParameter, errors.BadMultipart, errors.BodyTooLarge, errors.BodyTooSlow, errors.UploadsFull)
GUARD_ERRORS = (errors.MissingKey, errors.ForeignOrigin)
QUEUE_ERRORS = (errors.QueueFull, errors.NotReady, errors.Closing, errors.DeadlineExceeded, errors.BackendFailed)
LOOKUP_ERRORS = (errors.UnknownBackend, errors.UnknownVersion)

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The image file itself (JPEG, PNG, WebP, BMP or GIF; any Content-Type), or a form with a part `image`.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    },
    "parameters": [
        {
            "name": "X-Deadline-Ms",
            "in": "header",
            "required": False,
            "description": "Drop the image with 504 if inference has not begun by then.",
            "schema": {"type": "integer", "minimum": 1},
        }
    ],
}

Top = Annotated[int, Query(ge=1, le=1000, description="How many labels to return.")]


@router.post(
    "/classify",
    response_model=Classified,
    responses=responses(*IMAGE_ERRORS, *UPLOAD_ERRORS, *GUARD_ERRORS, *LOOKUP_ERRORS, *QUEUE_ERRORS),
    openapi_extra=BODY,
    summary="Classify an image with one backend",
)
async def classify(
    request: Request,
    backend: Annotated[str | None, Query(description="Name of the backend; left out: the default one.")] = None,
    top: Top = 3,
    version: Annotated[str | None, Query(description="A loaded version; left out: the newest.")] = None,
) -> Response:
    """Send an image, get its most probable labels."""
    service = services(request)
    service.registry.get(backend, version)  # a wrong name is said before the body is read
    async with service.reader.read(request) as data:
        work = service.pipeline.classify(data, backend=backend, version=version, top=top, deadline=deadline(request))
        prediction = await unless_gone(request, work)
    headers = {"Server-Timing": server_timing(milliseconds(prediction.timings))}
    return JSONResponse(classified(prediction, request_id(request)), headers=headers)


@router.post(
    "/compare",
    response_model=Compared,
    responses=responses(*IMAGE_ERRORS, *UPLOAD_ERRORS, *GUARD_ERRORS, errors.UnknownBackend, errors.NotReady),
    openapi_extra=BODY,
    summary="Classify an image with several backends",
)
async def compare(
    request: Request,
    backends: Annotated[str | None, Query(description="Names separated by commas; left out: all.")] = None,
    top: Top = 3,
) -> Response:
    """Send an image once, get what every backend says of it. A backend that fails has its problem in its place."""
    service = services(request)
    names = [name.strip() for name in (backends or "").split(",") if name.strip()]
    if not service.registry.ready:
        service.registry.get()  # says why nothing is loaded
    for name in names:
        with suppress(errors.NotReady):  # that one's problem, in its place
            service.registry.get(name)
    async with service.reader.read(request) as data:
        work = service.pipeline.compare(data, backends=names, top=top, deadline=deadline(request))
        outcomes = await unless_gone(request, work)
    for _, outcome in outcomes:
        if isinstance(outcome, ImageError) and not any(isinstance(other, Prediction) for _, other in outcomes):
            raise outcome  # nobody could read it: that is the caller's problem, not the backends'
    id_ = request_id(request)
    results = {
        name: classified(outcome, id_) if isinstance(outcome, Prediction) else problem(outcome, id_) for name, outcome in outcomes
    }
    first = [outcome.ranked[0].label for _, outcome in outcomes if isinstance(outcome, Prediction)]
    agree = len(set(first)) == 1 if len(first) > 1 else None
    return JSONResponse({"results": results, "agree": agree, "request_id": id_})

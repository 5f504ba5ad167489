"""`POST /v1/compare`: an image in, every backend's answer out."""

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.errors import ImageError
from service import errors
from service.api.image_body import BODY, GUARD_ERRORS, IMAGE_ERRORS, UPLOAD_ERRORS
from service.api.known import known_parameters
from service.api.problems import problem, responses
from service.api.requests import UnlessGone, asker, call, services
from service.api.schemas import Compared, classified
from service.domain import Prediction

router = APIRouter(prefix="/v1", tags=["classify"], dependencies=[Depends(known_parameters)])


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
    top: Annotated[int, Query(ge=1, le=1000, description="How many labels to return.")] = 3,
) -> Response:
    """Send an image once, get what every backend says of it. A backend that fails has its problem in its place."""
    service = services(request)
    names = [name.strip() for name in (backends or "").split(",") if name.strip()]
    if not service.registry.ready:
        service.registry.get()  # says why nothing is loaded
    for name in names:
        with suppress(errors.NotReady):  # that one's problem, in its place
            service.registry.get(name)
    found = call(request)
    asking = asker(found, service.settings)
    with service.reader.admit(found.headers) as upload:
        data = await upload.read(request.receive)
        with UnlessGone(request, service.hangups):
            outcomes = await service.pipeline.compare(data, backends=names, top=top, asker=asking)
    for _, outcome in outcomes:
        if isinstance(outcome, ImageError) and not any(isinstance(other, Prediction) for _, other in outcomes):
            raise outcome  # nobody could read it: that is the caller's problem, not the backends'
    results = {
        name: classified(outcome, found.id) if isinstance(outcome, Prediction) else problem(outcome, found.id)
        for name, outcome in outcomes
    }
    first = [outcome.ranked[0].label for _, outcome in outcomes if isinstance(outcome, Prediction)]
    agree = len(set(first)) == 1 if len(first) > 1 else None
    return JSONResponse({"results": results, "agree": agree, "request_id": found.id})

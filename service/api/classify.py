"""`POST /v1/classify`: an image in, ranked labels out. The route that is called most."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.image_body import BODY, GUARD_ERRORS, IMAGE_ERRORS, LOOKUP_ERRORS, QUEUE_ERRORS, REMOTE_ERRORS, UPLOAD_ERRORS
from service.api.problems import responses
from service.api.requests import UnlessGone, asker, call, services
from service.api.schemas import Classified, classified
from service.api.thin import ThinResponse, ThinRoute
from service.telemetry import server_timing

router = APIRouter(prefix="/v1", tags=["classify"], route_class=ThinRoute)


class ClassifyQuery(BaseModel):
    """Which backend, and how much of its answer."""

    backend: str | None = Field(None, description="Name of the backend; left out: the default one.")
    top: int = Field(3, ge=1, le=1000, description="How many labels to return.")
    version: str | None = Field(None, description="A loaded version; left out: the newest.")


@router.post(
    "/classify",
    response_model=Classified,
    responses=responses(*IMAGE_ERRORS, *UPLOAD_ERRORS, *GUARD_ERRORS, *LOOKUP_ERRORS, *QUEUE_ERRORS, *REMOTE_ERRORS),
    openapi_extra=BODY,
    summary="Classify an image with one backend",
)
async def classify(request: Request, query: Annotated[ClassifyQuery, Query()]) -> Response:
    """Send an image, get its most probable labels."""
    service = services(request)
    found = call(request)
    asking = asker(found, service.settings)
    service.pipeline.check(query.backend, query.version, asking)
    with service.reader.admit(found.headers) as upload:
        data = await upload.read(request.receive)
        with UnlessGone(request, service.hangups):
            prediction = await service.pipeline.classify(
                data, backend=query.backend, version=query.version, top=query.top, asker=asking
            )
    body = classified(prediction, found.id)
    return ThinResponse(body, b"server-timing", server_timing(body["timing_ms"]))

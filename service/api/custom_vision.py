"""Azure Custom Vision's prediction API, so that its clients need a new address and nothing else.

The contract is that of Azure/azure-rest-api-specs, CustomVision/Prediction/stable/v3.1/Prediction.json, and of what its Python
SDK (azure-cognitiveservices-vision-customvision 3.1.1) sends and reads. Nothing is stored, with or without `/nostore`.
"""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api.custom_vision_entry import BODIES, RESPONSES, Predicted, UrlBody
from service.api.requests import Call, Services, UnlessGone, asker, call, services
from service.api.schemas import shown
from service.api.thin import ThinRoute
from service.domain import Prediction
from service.errors import BadImageUrl, UnknownProject, UnknownPublication
from service.pipeline import Asker

PREFIX = "/customvision/"
MAX_IMAGE_BYTES = 4 * 1024 * 1024
MAX_URL_BODY_BYTES = 65_536
ALL_LABELS = 1_000_000
OURS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:parallax:custom-vision")
"""Ids of tags and iterations follow from their names, under this one: the same on every replica and after every restart."""

router = APIRouter(
    prefix=PREFIX + "{version}/{prediction}/{project}/classify/iterations/{published_name:path}",
    tags=["Custom Vision"],
    route_class=ThinRoute,
    responses=RESPONSES,
)


@router.post("/image", response_model=Predicted, openapi_extra=BODIES["image"], summary="Custom Vision: classify an image")
@router.post("/image/nostore", response_model=Predicted, openapi_extra=BODIES["image"], summary="The same")
async def classify_image(request: Request) -> Response:
    """Send an image, as a form with a part `imageData` or as it is; get all tags, most probable first."""
    service, found, backend, asking = _asked(request)
    with service.reader.admit(found.headers, MAX_IMAGE_BYTES) as upload:
        data = await upload.read(request.receive, "imageData", bare=True)
        return await _answer(request, service, data, backend, asking)


@router.post("/url", response_model=Predicted, openapi_extra=BODIES["url"], summary="Custom Vision: classify an image by address")
@router.post("/url/nostore", response_model=Predicted, openapi_extra=BODIES["url"], summary="The same")
async def classify_image_url(request: Request) -> Response:
    """Send the public address of an image; get all tags, most probable first. Off unless the settings allow it."""
    service, found, backend, asking = _asked(request)
    if service.fetcher is None:
        raise BadImageUrl(
            "Images by address are not fetched here, unless PARALLAX_CUSTOM_VISION_API__URL=true. Send the image itself."
        )
    with service.reader.admit(found.headers, MAX_URL_BODY_BYTES) as upload:
        body = await upload.body(request.receive)
    with service.reader.budget.hold(MAX_IMAGE_BYTES):
        data = await service.fetcher.fetch(_url(found, body), MAX_IMAGE_BYTES)
        return await _answer(request, service, data, backend, asking)


def _asked(request: Request) -> tuple[Services, Call, str, Asker]:
    """Raise what can be told before the body is read, else tell who asks which backend."""
    service, found = services(request), call(request)
    path = request.path_params
    if path["version"] not in ("v3.0", "v3.1") or path["prediction"] not in ("prediction", "Prediction"):
        raise HTTPException(404)
    backend = _behind(service, path["project"], path["published_name"])
    asking = asker(found, service.settings)
    service.pipeline.check(backend, None, asking)
    return service, found, backend, asking


def _behind(service: Services, project: str, published_name: str) -> str:
    """The backend that a project's published name stands for."""
    projects = service.settings.custom_vision_api.projects
    if not projects:
        return published_name
    names = projects.get(project.lower())
    if names is None:
        raise UnknownProject(f"No project {project[:100]!r} is served here (PARALLAX_CUSTOM_VISION_API__PROJECTS).")
    if published_name not in names:
        raise UnknownPublication(f"Nothing is published as {published_name[:100]!r}. There are: {', '.join(names)}.")
    return names[published_name]


async def _answer(request: Request, service: Services, data: bytes, backend: str, asking: Asker) -> Response:
    with UnlessGone(request, service.hangups):
        prediction = await service.pipeline.classify(data, backend=backend, top=ALL_LABELS, asker=asking)
    path = request.path_params
    body = {
        "id": str(uuid.uuid4()),
        "project": path["project"],
        "iteration": _id(f"{backend}/{prediction.backend.version}"),
        "created": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "predictions": _tagged(prediction, typed=path["version"] != "v3.0"),
    }
    return Response(to_json(body), media_type="application/json")


def _tagged(prediction: Prediction, *, typed: bool) -> Sequence[dict[str, Any]]:
    name = prediction.backend.name
    kind = {"tagType": "Regular"} if typed else {}  # new in 3.1
    return [
        {"probability": shown(one.probability), "tagId": _id(f"{name}/{one.label}/tag"), "tagName": one.label, **kind}
        for one in prediction.ranked
    ]


@lru_cache(maxsize=4096)
def _id(what: str) -> str:
    return str(uuid.uuid5(OURS, what))


def _url(found: Call, body: bytes) -> str:
    """The address in a body of JSON, or of a form. Raises `BadImageUrl`."""
    kind = found.headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind == b"application/x-www-form-urlencoded":
        fields = parse_qs(body.decode("utf-8", "replace"))
        given = next((values[0] for name, values in fields.items() if name.lower() == "url"), "")
    elif kind in (b"application/xml", b"text/xml"):
        raise HTTPException(415, 'Send JSON: {"url": "https://..."}')
    else:
        try:
            given = UrlBody.model_validate_json(body).url
        except ValidationError as exc:
            raise BadImageUrl('The body is not {"url": "https://..."}.') from exc
    if not given:
        raise BadImageUrl('The body is not {"url": "https://..."}.')
    return given

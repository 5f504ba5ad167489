"""Probes and metrics."""

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api.requests import services

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Response:
    """200 as long as the event loop turns."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", summary="Can it take requests?", responses={503: {"description": "Not yet, or no longer."}})
async def readyz(request: Request) -> Response:
    """200 once a backend has reproduced its golden vectors; 503 with the reasons before, and when the service is stopping."""
    service = services(request)
    if service.draining:
        return JSONResponse({"status": "stopping"}, 503)
    if not service.registry.ready:
        reasons = [f"{failure.name}/{failure.version}: {failure.reason}" for failure in service.registry.failures]
        return JSONResponse(
            {"status": "no backend", "reasons": reasons or [f"{service.settings.models_dir} holds no model"]}, 503
        )
    return JSONResponse({"status": "ready", "backends": sorted({running.identity.name for running in service.registry.running})})


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """All metrics, in Prometheus' text format."""
    service = services(request)
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

"""`GET /v1/backends`: what is served, on what, and how it does."""

from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service import errors
from service.api.image_body import GUARD_ERRORS
from service.api.known import known_parameters
from service.api.problems import responses
from service.api.requests import Services, services
from service.api.schemas import BackendInfo, BackendList
from service.errors import ReloadRefused, UnknownBackend
from service.pricing import Pricing
from service.registry import Failure, Registry
from service.running import Running

router = APIRouter(prefix="/v1/backends", tags=["backends"], dependencies=[Depends(known_parameters)])


@router.get("", response_model=BackendList, responses=responses(*GUARD_ERRORS, errors.BadParameter), summary="All backends")
async def list_backends(request: Request) -> Response:
    """Everything that is served, and every version that could not be, with the reason."""
    service = services(request)
    registry = service.registry
    shown = [_describe(registry, service.pricing, running) for running in registry.running]
    shown += [_describe_failure(failure) for failure in registry.failures]
    return JSONResponse({"backends": shown, "default": registry.default})


@router.get(
    "/{name}",
    response_model=BackendList,
    responses=responses(*GUARD_ERRORS, errors.UnknownBackend, errors.BadParameter),
    summary="One backend: the versions that serve, and those that failed",
)
async def get_backend(request: Request, name: str) -> Response:
    """The loaded versions of a backend, newest first, and those that failed."""
    service = services(request)
    return JSONResponse({"backends": _list(service, name), "default": service.registry.default})


@router.post(
    "/{name}/reload",
    response_model=BackendList,
    responses=responses(*GUARD_ERRORS, errors.UnknownBackend, errors.ReloadRefused, errors.BadParameter),
    summary="Look for a new version now",
)
async def reload_backend(request: Request, name: str) -> Response:
    """Load the newest version of the store beside the one that serves, check it, and let it take over. No request is lost.

    A version that is not sound is refused with the reason, and what served before goes on.
    """
    service = services(request)
    await service.watcher.reload(name)
    if service.siblings is not None:
        await service.siblings.reload(name)
    listed = _list(service, name)
    reasons = [f"version {failure.version}: {failure.reason}" for failure in service.registry.failures if failure.name == name]
    if reasons:
        serving = ", ".join(running.identity.version for running in service.registry.running if running.identity.name == name)
        raise ReloadRefused(f"{'; '.join(reasons)}. Version {serving or 'none'} serves {name!r}.")
    return JSONResponse({"backends": listed, "default": service.registry.default})


def _list(service: Services, name: str) -> list[dict[str, Any]]:
    registry = service.registry
    shown = [_describe(registry, service.pricing, running) for running in registry.running if running.identity.name == name]
    shown += [_describe_failure(failure) for failure in registry.failures if failure.name == name]
    if not shown:
        names = ", ".join(sorted({running.identity.name for running in registry.running})) or "none"
        raise UnknownBackend(f"There is no backend {name!r}. There are: {names}.")
    return shown


def _describe(registry: Registry, pricing: Pricing, running: Running) -> dict[str, Any]:
    identity = running.identity
    call = pricing.call(identity, running.backend.tally)
    price = call or pricing.hour(identity)
    info = BackendInfo(
        name=identity.name,
        kind=identity.kind,
        version=identity.version,
        default=identity.name == registry.default,
        precision=identity.precision,
        provider=identity.provider,
        labels=list(identity.labels),
        queue={
            "held": running.admission.held,
            "waiting": running.batcher.waiting,
            "running_batches": running.batcher.running,
            "max_queue": running.admission.max_queue,
        },  # type: ignore[arg-type]  # pydantic builds it
        counters=vars(running.counters),  # type: ignore[arg-type]  # pydantic builds it
        price=price and {"basis": "call" if call else "hour", **price._asdict()},  # type: ignore[arg-type]  # as above
        **{"state": "ready", **running.backend.describe()},
    )
    return info.model_dump(exclude_none=True)


def _describe_failure(failure: Failure) -> dict[str, Any]:
    info = BackendInfo(name=failure.name, kind="onnx", version=failure.version, state="failed", reason=failure.reason)
    return info.model_dump(exclude_none=True)

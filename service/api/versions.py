"""`GET /v1/backends/{name}/versions`: what the store has of a backend, and what each version could do when it was made."""

import asyncio
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from models.metadata import Accuracy, ModelCard
from models.repository import Listing, Repository
from service import errors
from service.api.image_body import GUARD_ERRORS
from service.api.known import known_parameters
from service.api.problems import responses
from service.api.requests import services
from service.errors import UnknownBackend
from service.registry import Registry

router = APIRouter(prefix="/v1/backends", tags=["backends"], dependencies=[Depends(known_parameters)])


class VariantInfo(BaseModel):
    """One file of a version."""

    precision: str
    size_bytes: int | None
    test_accuracy: Accuracy | None = Field(description="On the first test set that the version met; null before that.")


class VersionInfo(BaseModel):
    """A version: whether it serves, and how it came to be. What is not known is null."""

    version: str
    state: Literal["serving", "stored", "broken"]
    reason: str | None = Field(description="Why a broken one can't be served.")
    recipe: str | None = Field(description="How it was trained; null if elsewhere.")
    finished: datetime | None
    minutes: float | None
    usd: float | None = Field(description="Of its training.")
    parameters: int | None
    validation: Accuracy | None
    variants: list[VariantInfo]


class VersionList(BaseModel):
    """Versions of a backend, newest first."""

    versions: list[VersionInfo]


@router.get(
    "/{name}/versions",
    response_model=VersionList,
    responses=responses(*GUARD_ERRORS, errors.UnknownBackend, errors.BadParameter),
    summary="All versions of one backend, in the store and serving",
)
async def list_versions(request: Request, name: str) -> Response:
    """Those that serve, older ones of the store, and broken ones with the reason. A remote backend has its one."""
    service = services(request)
    listing = await asyncio.to_thread(Repository(service.settings.models_dir).scan)
    return JSONResponse({"versions": _versions(listing, service.registry, name)})


def _versions(listing: Listing, registry: Registry, name: str) -> list[dict[str, Any]]:
    """Raises `UnknownBackend`."""
    serving = [one.identity.version for one in registry.running if one.identity.name == name]
    failed = {one.version: one.reason for one in registry.failures if one.name == name}
    failed |= {one.version: one.reason for one in listing.broken if one.name == name}
    cards = {one.card.version: one.card for one in listing.models if one.card.name == name}
    known = {*serving, *failed, *cards}
    if not known:
        raise UnknownBackend(f"There is no backend {name!r}, served or stored. GET /v1/backends lists those that are served.")
    newest = sorted(known, key=lambda version: (int(version) if version.isdigit() else 0, version), reverse=True)
    return [
        _described(version, cards.get(version), serving=version in serving, reason=failed.get(version)).model_dump(mode="json")
        for version in newest
    ]


def _described(version: str, card: ModelCard | None, *, serving: bool, reason: str | None) -> VersionInfo:
    training = card.training if card else None
    tested = card.tests[0].accuracy if card and card.tests else {}
    return VersionInfo(
        version=version,
        state="serving" if serving else "broken" if reason else "stored",
        reason=None if serving else reason,
        recipe=training.recipe if training else None,
        finished=training.finished if training else None,
        minutes=training.minutes if training else None,
        usd=training.usd if training else None,
        parameters=training.parameters if training else None,
        validation=training.validation if training else None,
        variants=[
            VariantInfo(precision=one.precision, size_bytes=one.size_bytes, test_accuracy=tested.get(one.precision))
            for one in (card.variants if card else [])
        ],
    )

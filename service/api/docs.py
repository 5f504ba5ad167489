"""`GET /docs`: the OpenAPI page, from files that ship with the service. Nothing is fetched from elsewhere."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

WEB = Path(__file__).parent.parent / "web" / "docs"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
"""Swagger UI sets style attributes; scripts come from the service alone."""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> Response:
    """The page itself; its script asks for a key where the service needs one."""
    return FileResponse(WEB / "docs.html", headers={"Content-Security-Policy": POLICY})


def mount_docs(app: FastAPI) -> None:
    """Add the page and its files."""
    app.include_router(router)
    app.mount("/docs/swagger", StaticFiles(directory=SWAGGER))
    app.mount("/docs/files", StaticFiles(directory=WEB))

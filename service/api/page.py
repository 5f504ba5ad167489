"""`GET /`: the page, from files that ship with the service. It does nothing that the routes it asks can't do for anybody."""

from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

SERVICE = Path(__file__).parent.parent
WEB = SERVICE / "web"
PLOTLY = SERVICE.parent / "models" / "scoring" / "plotly"
"""The bundle that reports carry; the page asks for it when there is a chart to draw."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Of every file: `no-cache` has browsers ask whether theirs is still good, which an ETag answers without a body."""

router = APIRouter(include_in_schema=False)


class Files(StaticFiles):
    """Files of a folder, with the page's headers."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or 304 for who has it."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


files = Files(directory=WEB)


@router.get("/")
async def page(request: Request) -> Response:
    """The page itself; its scripts ask for a key where the service needs one."""
    return await files.get_response("index.html", request.scope)


def mount_page(app: FastAPI) -> None:
    """Add the page and its files."""
    app.include_router(router)
    app.mount("/web/plotly", Files(directory=PLOTLY))
    app.mount("/web", files)

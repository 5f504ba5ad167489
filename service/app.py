"""The application: the lifespan opens everything, and closes it in reverse."""

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeAlias

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import start_http_server
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from models import __version__
from models.errors import ParallaxError
from models.imaging import Limits
from models.machine import usable_cpus
from models.repository import Repository
from service.api import backends, classify, health
from service.api.auth import Guard
from service.api.docs import mount_docs
from service.api.edge import Edge
from service.api.problems import problem_response
from service.api.requests import Services, request_id
from service.api.upload import ImageReader
from service.backends.factory import candidates
from service.decoding import Decoder
from service.errors import ConfigurationError
from service.pipeline import Pipeline
from service.registry import Registry
from service.settings import Settings
from service.telemetry import Metrics

Application: TypeAlias = FastAPI
"""For those who run it and need not know what it is."""

log = logging.getLogger("parallax.app")


def create_app(settings: Settings) -> FastAPI:
    """Build the service. Raises `ConfigurationError` if its keys or its address make no sense."""
    guard = Guard(settings)
    metrics = Metrics()
    cpus = math.ceil(settings.cpus) if settings.cpus else usable_cpus()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            decoder = Decoder(cpus, Limits(settings.max_body_bytes, settings.max_pixels))
            stack.callback(decoder.close)
            registry = Registry(settings, metrics.on_batch)
            stack.push_async_callback(registry.close)
            try:
                await registry.open(candidates(Repository(settings.models_dir), settings, cpus))
                if settings.metrics_port is not None:
                    stack.callback(_serve_metrics(settings, metrics))
            except ParallaxError as exc:
                app.state.startup_error = exc
                raise
            for running in registry.running:
                metrics.serve(running.identity, partial(getattr, running.admission, "held"))
            pipeline = Pipeline(registry, decoder, metrics)
            app.state.services = Services(settings, registry, pipeline, ImageReader(settings), metrics)
            if not registry.running:
                log.warning("no backend: the store is empty", extra={"models_dir": str(settings.models_dir)})
            yield
            app.state.services.draining = True

    app = FastAPI(
        title="Parallax",
        version=__version__,
        description="Image classifiers side by side: one call, every backend's answer.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    for module in (classify, backends, health):
        app.include_router(module.router)
    mount_docs(app)
    for kind in (ParallaxError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _on_error)
    app.add_middleware(Edge, guard=guard, metrics=metrics)
    return app


async def _on_error(request: Request, exc: Exception) -> Response:
    return problem_response(exc, request_id(request))


def _serve_metrics(settings: Settings, metrics: Metrics) -> Callable[[], None]:
    """Open the port for metrics. Returns what closes it."""
    port = settings.metrics_port or 0
    try:
        server, _ = start_http_server(port, settings.host, metrics.registry)
    except OSError as exc:
        raise ConfigurationError(f"PARALLAX_METRICS_PORT={port} can't be listened on: {exc.strerror}") from exc

    def close() -> None:
        server.shutdown()
        server.server_close()

    return close

"""The application: the lifespan opens everything, and closes it in reverse."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from models import __version__
from models.errors import ParallaxError
from models.imaging import Limits
from models.machine import usable_cpus
from models.repository import Repository
from service.activity import Activity
from service.api import backends, classify, compare, custom_vision, health, scoring, versions
from service.api.auth import Guard
from service.api.custom_vision_errors import error_response
from service.api.dialects import Dialect
from service.api.docs import mount_docs
from service.api.edge import Edge
from service.api.page import mount_page
from service.api.problems import without_frames
from service.api.requests import Services, call
from service.api.scoring_desk import Scorings
from service.api.thin import ThinRoute
from service.api.tracing import Traces
from service.api.upload import ImageReader
from service.backends.factory import finder
from service.decoding import Decoder
from service.pipeline import Pipeline
from service.plans import PlanBook
from service.pricing import Pricing
from service.registry import Registry
from service.served_metrics import Served
from service.settings import Settings
from service.siblings import Siblings
from service.telemetry import Metrics, serve_metrics
from service.tuner import Tuner
from service.watcher import Watcher
from service.workers import Place

if TYPE_CHECKING:
    from service.fetching import ImageFetcher
    from service.otel.spans import Recorder

Application: TypeAlias = FastAPI
"""For those who run it and need not know what it is."""


class _Application(FastAPI):
    """FastAPI inside the edge, which it would otherwise put behind three layers of its own."""

    _edge: ASGIApp

    def record(self, recorder: "Recorder") -> None:
        """Let every request be traced."""
        self._edge = Traces(self._edge, recorder.begin)

    def surround(self, guard: Guard, metrics: Metrics) -> None:
        """Build the edge, once all routes are there."""
        direct = {route.path: route for route in classify.router.routes if isinstance(route, ThinRoute)}
        dialects = {custom_vision.PREFIX: Dialect(guard.check_prediction_key, error_response)}
        self._edge = Edge(super().__call__, guard, metrics, direct, dialects)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection (ASGI)."""
        scope["app"] = self
        await self._edge(scope, receive, send)


log = logging.getLogger("parallax.app")

METRICS_S = 1.0
"""How old a worker's part in the metrics may be when another worker tells of them."""


def create_app(settings: Settings, place: Place | None = None) -> FastAPI:
    """Build the service, alone or at its place among several workers.

    Raises `ConfigurationError` if its keys or its address make no sense.
    """
    guard = Guard(settings)
    metrics = Metrics()
    cpus = math.ceil(settings.cpus) if settings.cpus else usable_cpus()
    if place is not None:
        cpus = max(1, cpus // place.count)
        settings = settings.shared_by(place.count)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            make = await _telemetry(stack, app, settings, metrics, place)
            decoder = Decoder(cpus, Limits(settings.max_body_bytes, settings.max_pixels))
            stack.callback(decoder.close)
            registry = Registry(settings, metrics.on_batch)
            stack.push_async_callback(registry.close)
            repository = Repository(settings.models_dir)
            # A worker that takes a dead one's place must choose the variants that the others chose, whatever was measured since.
            until = place.began if place is not None else math.inf
            book = PlanBook(settings.data_dir / "plans", cpus, speeds_until=until)
            activity = Activity()
            try:
                watcher = Watcher(registry, repository, finder(repository, settings, cpus, book), settings.poll_s)
                await watcher.open()
                if settings.metrics_port is not None and place is None:
                    stack.callback(serve_metrics(settings, metrics.registry))
            except ParallaxError as exc:
                app.state.startup_error = exc
                raise
            metrics.watch(
                lambda: [Served(one.identity, one.admission.held, one.backend.tally, one.plan) for one in registry.running]
            )
            pipeline = make(registry, decoder, metrics, activity)
            siblings = await _join(stack, place, watcher, metrics) if place is not None else None
            reader = ImageReader(settings)
            fetcher = await _fetcher(stack, settings)
            scorings = Scorings(settings, pipeline, registry, watcher, cpus)
            stack.push_async_callback(scorings.close)
            if place is not None and place.number:
                scorings.only_takes()  # one worker's runs at a time, or each would measure the other's
            app.state.services = Services(
                settings,
                registry,
                pipeline,
                reader,
                metrics,
                watcher,
                scorings,
                Pricing(cpus, settings.usd_per_hour),
                siblings=siblings,
                fetcher=fetcher,
            )
            _keep_running(stack, scorings.run())
            if not registry.running:
                log.warning("no backend: the store is empty", extra={"models_dir": str(settings.models_dir)})
            _keep_running(stack, watcher.run())
            if settings.tune == "auto":
                _keep_running(stack, Tuner(registry, book, activity, leads=place is None or place.number == 0).run())
            yield
            app.state.services.draining = True

    app = _Application(
        title="Parallax",
        version=__version__,
        description="Image classifiers side by side: one call, every backend's answer.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    for module in (classify, compare, scoring, backends, versions, health, custom_vision):
        app.include_router(module.router)
    mount_docs(app)
    mount_page(app)
    for kind in (ParallaxError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _on_error)
    app.surround(guard, metrics)
    return app


async def _on_error(request: Request, exc: Exception) -> Response:
    found = call(request)
    return found.respond(without_frames(exc), found.id)


async def _fetcher(stack: AsyncExitStack, settings: Settings) -> "ImageFetcher | None":
    """For images by address, if those are allowed: it brings an HTTP client, which a service without it need not load."""
    if not settings.custom_vision_api.url:
        return None
    from service.fetching import ImageFetcher

    fetcher = ImageFetcher(settings.custom_vision_api)
    stack.push_async_callback(fetcher.close)
    return fetcher


async def _telemetry(
    stack: AsyncExitStack, app: FastAPI, settings: Settings, metrics: Metrics, place: Place | None
) -> type[Pipeline]:
    """Send traces and metrics, if there is a collector, and tell which pipeline to take: without one, nothing is in its way."""
    if not (settings.otel.wants("traces") or settings.otel.wants("metrics")):
        return Pipeline
    from service.otel.export import Exporting
    from service.otel.pipeline import TracedPipeline

    # One worker knows the metrics of all.
    exporting = Exporting(settings.otel, metrics.registry, metrics=place is None or place.number == 0)
    stack.push_async_callback(exporting.close)
    _keep_running(stack, exporting.run())
    if exporting.recorder is None or exporting.outbox is None or not isinstance(app, _Application):
        return Pipeline
    metrics.traced = exporting.outbox.counts
    app.record(exporting.recorder)
    return TracedPipeline


async def _join(stack: AsyncExitStack, place: Place, watcher: Watcher, metrics: Metrics) -> Siblings:
    """Be one of several workers: pass reloads on, and let the others tell of this one when they are asked for metrics."""
    siblings = Siblings(place.folder)
    await siblings.open(watcher.reload)
    stack.push_async_callback(siblings.close)
    _keep_running(stack, _refresh(metrics))
    return siblings


async def _refresh(metrics: Metrics) -> None:
    while True:
        metrics.refresh()
        await asyncio.sleep(METRICS_S)


def _keep_running(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Run something beside the requests until the service stops."""
    task = asyncio.ensure_future(work)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait((task,))

    stack.push_async_callback(stop)

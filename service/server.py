"""Runs the application under uvicorn, and stops it so that nothing accepted is lost."""

import asyncio
import logging
import signal
import socket
from functools import partial
from types import FrameType

import uvicorn

from models.errors import ParallaxError
from service.api.auth import Guard
from service.api.http1 import Connection
from service.api.wire import REQUESTS_OF_SEVERAL, Http1, Listener
from service.app import Application, create_app
from service.descriptors import allow_many
from service.errors import ConfigurationError
from service.interpreter import configure
from service.logs import configure_logging
from service.memory import share_one_arena
from service.settings import Settings
from service.workers import Place, Supervisor

log = logging.getLogger("parallax.server")


class _Server(uvicorn.Server):
    """Says where it listens, and marks the service as draining on the first signal, so that its probes tell at once."""

    def __init__(self, config: uvicorn.Config, app: Application, place: Place | None) -> None:
        super().__init__(config)
        self._application = app
        self._place = place

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        configure()
        if self._place is not None:
            self._place.ready()
            return
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                log.info("listening", extra={"url": f"http://{f'[{host}]' if ':' in host else host}:{port}"})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        log.info("stopping", extra={"signal": signal.Signals(sig).name, "grace_s": self.config.timeout_graceful_shutdown})
        services = getattr(self._application.state, "services", None)
        if services is not None:
            services.draining = True
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; return once every accepted request is answered or the grace time is over.

    Raises `ConfigurationError` if it can't start.
    """
    configure_logging(settings.log_level)
    if settings.workers > 1:
        Guard(settings)  # what makes no sense is said once, not by every worker
        Supervisor(settings, serve_here).run()
    else:
        serve_here(settings)


def serve_here(settings: Settings, place: Place | None = None) -> None:
    """Serve in this very process, alone or, at a `place`, as one of several workers."""
    configure_logging(settings.log_level)
    share_one_arena()
    allow_many()
    app = create_app(settings, place)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto",
        http=partial(_connection, Http1() if place is None else Http1(max_requests=REQUESTS_OF_SEVERAL)),  # type: ignore[arg-type]  # called as a class would be
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who is believed to be the client is told by its connection
        timeout_graceful_shutdown=settings.grace_s,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # What the lifespan raised on purpose is told once, by the command line, and not as uvicorn's traceback.
    logging.getLogger("uvicorn.error").addFilter(lambda _record: _startup_error(app) is None)
    # After its own shutdown uvicorn raises the signal again for whoever handled it before: a stop that was asked for is a
    # success, so nobody else may end the process for it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    server = _Server(config, app, place)
    try:
        server.run(None if place is None else [place.listen(settings.host)])
    except SystemExit as exc:
        reason = ConfigurationError(f"the service could not start on {settings.host}:{settings.port}; the log has the cause")
        raise _startup_error(app) or reason from exc
    if not server.started:
        raise _startup_error(app) or ConfigurationError("the service was stopped before it was ready")


def _connection(
    shared: Http1,
    config: uvicorn.Config,
    server_state: Listener,
    app_state: object,  # noqa: ARG001  # of uvicorn's own protocols
    _loop: asyncio.AbstractEventLoop | None = None,
) -> Connection:
    return Connection(shared, config.loaded_app, server_state)


def _startup_error(app: Application) -> ParallaxError | None:
    error: ParallaxError | None = getattr(app.state, "startup_error", None)
    return error

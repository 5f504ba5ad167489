"""`parallax serve`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one [default: 8000].")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that serve, for machines with many cores [default: 1].")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="The store to serve [default: models/store].")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where models run [default: auto].")] = None,
    precision: Annotated[
        Literal["auto", "fp32", "int8", "fp16"] | None, typer.Option(help="Variant to serve [default: auto].")
    ] = None,
    default_backend: Annotated[str | None, typer.Option(help="Backend of requests that name none [default: cnn].")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Requests that a backend holds at most [default: 256].")] = None,
    allow_anonymous: Annotated[
        bool | None, typer.Option("--allow-anonymous", help="Listen beyond loopback without API keys.")
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None, typer.Option(help="debug logs every request [default: info].")
    ] = None,
) -> None:
    """Serve every model of the store over HTTP.

    A flag wins over its environment variable `PARALLAX_<NAME>`, and that over .env. The README lists the settings that have
    no flag. API keys are read from PARALLAX_API_KEYS or PARALLAX_API_KEYS_FILE only, so that they never show in a process list.
    """
    from service.server import serve as run
    from service.settings import load_settings

    run(
        load_settings(
            host=host,
            port=port,
            workers=workers,
            models_dir=models_dir,
            device=device,
            precision=precision,
            default_backend=default_backend,
            max_queue=max_queue,
            allow_anonymous=allow_anonymous,
            log_level=log_level,
        )
    )

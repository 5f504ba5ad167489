"""How the workers of one service tell each other what all must do: a line of JSON over a socket in a private folder.

Prometheus' own files merge their metrics, the kernel shares out connections; only a reload has to be passed on.
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("parallax.siblings")

PATIENCE_S = 120.0
"""For a sibling to load a model."""


class Siblings:
    """This worker among the others. Each has a socket named after its process in a folder that only they can enter."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the supervisor's, with mode 0700."""
        self._folder = folder
        self._own = folder / f"{os.getpid()}.sock"
        self._server: asyncio.Server | None = None

    async def open(self, reload: Callable[[str], Awaitable[None]]) -> None:
        """Answer the others: `reload` is called with the name of a backend."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reload(str(json.loads(await reader.readline())["reload"]))
                writer.write(b"{}\n")
                await writer.drain()
            except Exception:
                log.exception("what another worker asked for failed")
            finally:
                writer.close()

        self._server = await asyncio.start_unix_server(answer, self._own)

    async def reload(self, name: str) -> None:
        """Have every other worker look for a new version, and return when all have. One that is gone is passed over."""
        others = [path for path in self._folder.glob("*.sock") if path != self._own]
        await asyncio.gather(*(_ask(path, {"reload": name}) for path in others))

    async def close(self) -> None:
        """Be gone."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                self._own.unlink()


async def _ask(path: Path, message: dict[str, str]) -> None:
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return  # it died, and its successor loads what is newest
    try:
        writer.write(json.dumps(message).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            await reader.readline()
    except (OSError, TimeoutError):
        log.warning("another worker did not answer", extra={"socket": path.name})
    finally:
        writer.close()

"""What a thread brings piece by piece, for an event loop."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

One = TypeVar("One")


class _End:
    """Nothing comes any more."""


async def fed(bring: Callable[[], Iterator[One]], name: str) -> AsyncGenerator[One, None]:
    """What an iterator brings that blocks. Raises what it raises.

    Its thread is one that nobody waits for: who stops must not wait for a cluster to notice. It stops at the next piece.
    """
    pieces: asyncio.Queue[One | Exception | _End] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    stopped = threading.Event()

    def tell(piece: One | Exception | _End) -> None:
        if not stopped.is_set():
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

    def run() -> None:
        try:
            for piece in bring():
                if stopped.is_set():
                    return
                tell(piece)
        except Exception as exc:  # noqa: BLE001  # it is raised where it is waited for
            tell(exc)
        else:
            tell(_End())

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        while not isinstance(piece := await pieces.get(), _End):
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        stopped.set()

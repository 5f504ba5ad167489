"""Reads a run's images ahead of whoever sends them, within bounds of their number, of their bytes and of threads."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from models.errors import ImageTooLarge, ParallaxError
from service.scoring.jobs import Task
from service.scoring.sources import Source

READ_AHEAD = 128
"""Images in memory beyond those under way and those that one read brings."""
READERS = 16
"""Threads: as many as the widest source can use."""
SHARE = 4
"""Images of runs may take one part in so many of what all images in memory may (`PARALLAX_MAX_INFLIGHT_BYTES`)."""
AT_ONCE = 32
"""Images that a thread reads before it comes back: one for each would take longer than most reads do."""

Found: TypeAlias = bytes | ParallaxError
"""An image, or why it can't be had."""


class Room:
    """Bytes that may be in memory. Belongs to one event loop."""

    def __init__(self, size: int) -> None:
        self.size = self._free = size
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait for so many. All who wait ask for the same, so that none is passed over for ever."""
        while self._free < size:
            self._freed.clear()
            await self._freed.wait()
        self._free -= size

    def give(self, size: int) -> None:
        """Give so many back."""
        self._free += size
        self._freed.set()


class Reader:
    """Made for one run. All its backends share the room: what is read ahead for one is not there for another."""

    def __init__(self, threads: ThreadPoolExecutor, max_image_bytes: int, max_bytes: int) -> None:
        """`max_bytes`: of all images in memory together, read ahead or under way; never less than one."""
        self._threads = threads
        self._largest = max_image_bytes
        self._room = Room(max(max_bytes, max_image_bytes))

    async def each(
        self,
        source: Source,
        tasks: Sequence[Task],
        concurrency: int,
        do: Callable[[Sequence[tuple[Task, Found]]], Awaitable[None]],
        together: int = 1,
    ) -> None:
        """Do something with all images, so many calls at once, each with up to so many images together."""
        ready: asyncio.Queue[Sequence[tuple[Task, Found]] | None] = asyncio.Queue(max(1, READ_AHEAD // together))
        left = deque(tasks)
        at_once = 1 if source.parallel > 1 else AT_ONCE
        share = self._room.size // (2 * concurrency)

        async def read_on() -> None:
            while left:
                await self._room.take(self._largest)  # nobody knows how large an image is before it is read
                some = [left.popleft() for _ in range(min(at_once, len(left)))]
                found = await asyncio.get_running_loop().run_in_executor(self._threads, _read, source, some, self._largest)
                left.extendleft(reversed(some[len(found) :]))
                self._room.give(self._largest - sum(map(_size, found)))
                for group in _groups(list(zip(some, found, strict=False)), together, share):
                    await ready.put(group)

        async def read_all() -> None:
            async with asyncio.TaskGroup() as readers:
                for _ in range(source.parallel):
                    readers.create_task(read_on())
            for _ in range(concurrency):
                await ready.put(None)

        async def work() -> None:
            while (some := await ready.get()) is not None:
                await do(some)
                self._room.give(sum(_size(data) for _, data in some))

        async with asyncio.TaskGroup() as group:
            group.create_task(read_all())
            for _ in range(concurrency):
                group.create_task(work())


def _read(source: Source, tasks: Sequence[Task], max_bytes: int) -> list[Found]:
    """The first images of some, as many as fit into so many bytes together; at least one."""
    found: list[Found] = []
    left = max_bytes
    for task in tasks:
        try:
            data = source.read(task.image, left)
        except ImageTooLarge as exc:
            if left < max_bytes:
                break  # too large for what is left; alone it may not be
            found.append(exc)
        except ParallaxError as exc:
            found.append(exc)
        else:
            found.append(data)
            left -= len(data)
    return found


def _groups(read: Sequence[tuple[Task, Found]], together: int, share: int) -> Iterator[Sequence[tuple[Task, Found]]]:
    """So many images each, or fewer large ones: who works side by side shall all have some, whatever the room holds."""
    group: list[tuple[Task, Found]] = []
    held = 0
    for one in read:
        size = _size(one[1])
        if len(group) == together or (group and held + size > share):
            yield group
            group, held = [], 0
        group.append(one)
        held += size
    if group:
        yield group


def _size(found: Found) -> int:
    return len(found) if isinstance(found, bytes) else 0

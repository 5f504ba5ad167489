"""A job's images at one backend, in this process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from models.errors import ParallaxError
from models.imaging import Limits
from service.domain import Identity, Prediction
from service.errors import BudgetSpent, Overloaded, UnknownVersion
from service.pipeline import Asker, Pipeline
from service.running import Running
from service.scoring.jobs import Task
from service.scoring.options import Options
from service.scoring.rows import Row
from service.scoring.sources import Source

READ_AHEAD = 64
"""Images in memory beyond those under way, at most."""
PATIENCE_S = 60.0
"""How long a backend may refuse all images before they are noted as refused."""
MIN_PAUSE_S, MAX_PAUSE_S = 0.02, 1.0
"""Between attempts of an image that finds the queue full."""
MAX_CONCURRENCY = 64


class Means(Protocol):
    """What it takes to score an image: `Machinery` is that, and more."""

    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def code_of(self) -> Callable[[Exception], str]: ...


class Notes(Protocol):
    """Where rows go: a `Ledger`, or what is told to one elsewhere."""

    def begin(self, backend: str) -> None:
        """Its clock runs."""
        ...

    def end(self, backend: str) -> None:
        """Its clock stands."""
        ...

    def learn(self, backend: str, labels: tuple[str, ...]) -> None:
        """A remote backend's labels are known from its first answer."""
        ...

    async def add(self, row: Row) -> None:
        """Take a row."""
        ...


class Stint:
    """Made for one backend of one job."""

    def __init__(
        self,
        machinery: Means,
        options: Options,
        source: Source,
        ledger: Notes,
        pinned: Identity,
        running: Running,
        asker: Asker,
    ) -> None:
        self._machinery = machinery
        self._options = options
        self._source = source
        self._ledger = ledger
        self._pinned = pinned
        self._running = running
        self._asker = asker
        self._last_answer = time.perf_counter()

    async def run(self, tasks: Sequence[Task]) -> None:
        """Make the rows of these images."""
        concurrency = self._concurrency()
        if not self._running.backend.remote:
            await self._warm_up(tasks[: self._options.warmup], concurrency)
        self._last_answer = time.perf_counter()
        self._ledger.begin(self._pinned.name)
        try:
            await self._each(tasks, concurrency, self._score)
        finally:
            self._ledger.end(self._pinned.name)

    def _concurrency(self) -> int:
        if self._options.mode == "latency":
            return 1
        backend = self._running.backend
        room = max(1, self._running.admission.max_queue // 2)
        useful = 2 * backend.max_in_flight * backend.max_batch_size
        return min(room, self._options.concurrency or max(2, min(MAX_CONCURRENCY, useful)))

    async def _warm_up(self, tasks: Sequence[Task], concurrency: int) -> None:
        async def once(_task: Task, data: bytes | ParallaxError) -> None:
            if isinstance(data, bytes):
                with suppress(ParallaxError):
                    await self._machinery.pipeline.classify_with(self._running, data, top=1, asker=self._asker)

        await self._each(tasks, concurrency, once)

    async def _each(
        self, tasks: Sequence[Task], concurrency: int, do: Callable[[Task, bytes | ParallaxError], Awaitable[None]]
    ) -> None:
        """Read images ahead, and have so many of them under way at once."""
        ready: asyncio.Queue[tuple[Task, bytes | ParallaxError] | None] = asyncio.Queue(READ_AHEAD)

        async def read() -> None:
            async for some in self._read(tasks):
                for one in some:
                    await ready.put(one)
            for _ in range(concurrency):
                await ready.put(None)

        async def work() -> None:
            while (one := await ready.get()) is not None:
                await do(*one)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for _ in range(concurrency):
                group.create_task(work())

    async def _read(self, tasks: Sequence[Task]) -> AsyncIterator[list[tuple[Task, bytes | ParallaxError]]]:
        """Images with their bytes, a few at a time: a thread for each image would take longer than most reads do."""
        size = 1 if self._source.parallel > 1 else 16
        parts = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        for first in range(0, len(parts), self._source.parallel):
            some = parts[first : first + self._source.parallel]
            for part in await asyncio.gather(*(asyncio.to_thread(self._bytes_of, one) for one in some)):
                yield part

    def _bytes_of(self, tasks: Collection[Task]) -> list[tuple[Task, bytes | ParallaxError]]:
        found: list[tuple[Task, bytes | ParallaxError]] = []
        for task in tasks:
            try:
                found.append((task, self._source.read(task.image, self._machinery.limits.max_bytes)))
            except ParallaxError as exc:
                found.append((task, exc))
        return found

    async def _score(self, task: Task, data: bytes | ParallaxError) -> None:
        outcome = data if isinstance(data, ParallaxError) else await self._classify(data)
        if isinstance(outcome, ParallaxError):
            row = failed_row(task, self._pinned, self._machinery.code_of(outcome), str(outcome))
        else:
            row = self._row(task, outcome)
        await self._ledger.add(row)

    def _row(self, task: Task, found: Prediction) -> Row:
        if not self._pinned.labels:
            self._pinned = replace(self._pinned, labels=found.backend.labels)
            self._ledger.learn(self._pinned.name, found.backend.labels)
        if found.backend.labels != self._pinned.labels:  # a remote one may become another model under its name
            gone = UnknownVersion("It answers with other labels than when the job began.")
            return failed_row(task, self._pinned, self._machinery.code_of(gone), str(gone))
        return _row(task, self._pinned, found)

    async def _classify(self, data: bytes) -> Prediction | ParallaxError:
        """Try until the backend takes it; one that takes nothing for long enough is left alone."""
        pause = MIN_PAUSE_S
        while True:
            try:
                found = await self._machinery.pipeline.classify_with(self._running, data, top=1, asker=self._asker)
            except BudgetSpent as exc:
                return exc
            except Overloaded as exc:
                if time.perf_counter() - self._last_answer > PATIENCE_S:
                    return exc
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S)
            except ParallaxError as exc:
                return exc
            else:
                self._last_answer = time.perf_counter()
                return found


def failed_row(task: Task, pinned: Identity, code: str, detail: str) -> Row:
    """The row of an image that has no answer."""
    name, version, precision = pinned.name, pinned.version, pinned.precision
    return Row(task.image, task.label, name, version, precision, None, None, None, None, None, None, None, code, detail)


def _row(task: Task, pinned: Identity, found: Prediction) -> Row:
    best = found.ranked[0]
    queue, decode, infer, total = (1000 * seconds for seconds in found.timings)
    return Row(
        task.image,
        task.label,
        pinned.name,
        pinned.version,
        pinned.precision,
        best.label,
        best.probability,
        found.scores,
        queue,
        decode,
        infer,
        total,
        None,
    )

"""A job's images at one backend, in this process."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from models.errors import ParallaxError
from service.domain import Identity, Prediction
from service.errors import BudgetSpent, Overloaded, UnknownVersion
from service.pipeline import Asker, Pipeline
from service.running import Running
from service.scoring.jobs import Task
from service.scoring.options import Options
from service.scoring.reading import Found, Reader
from service.scoring.rows import Row
from service.scoring.sources import Source

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
        reader: Reader,
        ledger: Notes,
        pinned: Identity,
        running: Running,
        asker: Asker,
    ) -> None:
        self._machinery = machinery
        self._options = options
        self._source = source
        self._reader = reader
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
            await self._reader.each(self._source, tasks, concurrency, self._score)
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
        async def once(_task: Task, data: Found) -> None:
            if isinstance(data, bytes):
                with suppress(ParallaxError):
                    await self._machinery.pipeline.classify_with(self._running, data, top=1, asker=self._asker)

        await self._reader.each(self._source, tasks, concurrency, once)

    async def _score(self, task: Task, data: Found) -> None:
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

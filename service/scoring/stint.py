"""A job's images at one backend, in this process."""

import asyncio
import time
from collections.abc import Callable, Sequence
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
MAX_CALLS = 64
"""Calls of the pipeline side by side, if the job does not say how many images."""


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

    async def add(self, rows: Sequence[Row]) -> None:
        """Take some rows."""
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
        concurrency, together = self._concurrency()
        if not self._running.backend.remote:
            await self._warm_up(tasks[: self._options.warmup], concurrency)
        self._last_answer = time.perf_counter()
        self._ledger.begin(self._pinned.name)
        try:
            await self._reader.each(self._source, tasks, concurrency, self._score, together)
        finally:
            self._ledger.end(self._pinned.name)

    def _concurrency(self) -> tuple[int, int]:
        """Calls of the pipeline side by side, and images of each: as many as a lane takes, if all lanes have some even so.

        They take half of the places of the backend's queue at most.
        """
        if self._options.mode == "latency":
            return 1, 1
        sizes = self._running.batcher.sizes
        room = max(1, self._running.admission.max_queue // 2)
        each = sizes.background if self._source.parallel == 1 else 1  # else they come one by one, and none waits
        useful = 2 * sizes.in_flight * max(each, sizes.urgent)
        images = min(room, self._options.concurrency or max(2, min(MAX_CALLS * each, useful)))
        together = max(1, min(each, images // sizes.in_flight))
        return images // together, together

    async def _warm_up(self, tasks: Sequence[Task], concurrency: int) -> None:
        async def once(found: Sequence[tuple[Task, Found]]) -> None:
            images = [data for _, data in found if isinstance(data, bytes)]
            await self._machinery.pipeline.classify_all(self._running, images, top=1, asker=self._asker)

        await self._reader.each(self._source, tasks, concurrency, once)

    async def _score(self, found: Sequence[tuple[Task, Found]]) -> None:
        classified = iter(await self._classify([data for _, data in found if isinstance(data, bytes)]))
        outcomes = [next(classified) if isinstance(data, bytes) else data for _, data in found]
        await self._ledger.add([self._row(task, outcome) for (task, _), outcome in zip(found, outcomes, strict=True)])

    def _row(self, task: Task, found: Prediction | ParallaxError) -> Row:
        if isinstance(found, ParallaxError):
            return failed_row(task, self._pinned, self._machinery.code_of(found), str(found))
        if not self._pinned.labels:
            self._pinned = replace(self._pinned, labels=found.backend.labels)
            self._ledger.learn(self._pinned.name, found.backend.labels)
        if found.backend.labels != self._pinned.labels:  # a remote one may become another model under its name
            gone = UnknownVersion("It answers with other labels than when the job began.")
            return failed_row(task, self._pinned, self._machinery.code_of(gone), str(gone))
        return _row(task, self._pinned, found)

    async def _classify(self, images: Sequence[bytes]) -> list[Prediction | ParallaxError]:
        """Try until the backend takes them; one that takes nothing for long enough is left alone."""
        outcomes = newest = await self._machinery.pipeline.classify_all(self._running, images, top=1, asker=self._asker)
        pause = MIN_PAUSE_S
        while True:
            now = time.perf_counter()
            if any(isinstance(one, Prediction) for one in newest):
                self._last_answer = now
            refused = [place for place, one in enumerate(outcomes) if _comes_again(one)]
            if not refused or now - self._last_answer > PATIENCE_S:
                return outcomes
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)
            left = [images[place] for place in refused]
            newest = await self._machinery.pipeline.classify_all(self._running, left, top=1, asker=self._asker)
            for place, one in zip(refused, newest, strict=True):
                outcomes[place] = one


def _comes_again(outcome: Prediction | ParallaxError) -> bool:
    return isinstance(outcome, Overloaded) and not isinstance(outcome, BudgetSpent)


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

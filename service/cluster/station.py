"""A process of the cluster at work: the pipeline and the stint of a server, on the images that it is handed."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.errors import ParallaxError
from models.imaging import Limits
from models.repository import Repository
from service.activity import Activity
from service.backends.factory import finder
from service.backends.remote import Door
from service.cluster import columns
from service.cluster.columns import Part
from service.cluster.load import Load
from service.cluster.permits import PermitDoor
from service.decoding import Decoder
from service.errors import NotReady
from service.pipeline import Asker, Pipeline
from service.plans import PlanBook
from service.registry import Registry
from service.running import Running
from service.scoring.jobs import Task
from service.scoring.library import Library
from service.scoring.reading import READERS, SHARE, Reader
from service.scoring.rows import Row
from service.scoring.sources import Source
from service.scoring.stint import Stint, failed_row
from service.telemetry import Metrics


@dataclass(frozen=True)
class Means:
    """`service.scoring.stint.Means`."""

    pipeline: Pipeline
    code_of: Callable[[Exception], str]


class Notes:
    """`service.scoring.stint.Notes` that are handed over when the images are done."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.labels: tuple[str, ...] = ()
        self.began = time.perf_counter()

    def begin(self, backend: str) -> None:
        """Warming up is over."""
        self.began = time.perf_counter()

    def end(self, backend: str) -> None:
        """The clock that counts is that of who started the run."""

    def learn(self, backend: str, labels: tuple[str, ...]) -> None:
        """Keep them."""
        self.labels = labels

    async def add(self, rows: Sequence[Row]) -> None:
        """Keep them."""
        self.rows.extend(rows)


class Station:
    """Opened by `open`. Belongs to one event loop, and lives as long as its process."""

    def __init__(self, load: Load, cpus: int, door: Door | None = None) -> None:
        """`cpus`: what it may take of its machine. `door`: to the rate that all share."""
        self._load = load
        self._cpus = cpus
        self._door = door
        self._stack = AsyncExitStack()
        self._options = load.options
        self._pinned = load.pinned
        self._at_work: tuple[Means, Running, Source, Reader] | None = None
        self._gone: ParallaxError | None = None

    async def open(self) -> None:
        """Load the backend as a server would: digests, golden vectors, a first run. What is wrong with it, every row will say.

        Raises `UnknownDataset` or `DatasetError` if the set can't be seen from here.
        """
        load = self._load
        limits = Limits(load.settings.max_body_bytes, load.settings.max_pixels)
        source = await asyncio.to_thread(Library(load.settings).reopen, dict(load.dataset))
        try:
            running, pipeline = await self._loaded(limits)
        except ParallaxError as exc:
            self._gone = exc
        else:
            threads = ThreadPoolExecutor(READERS, thread_name_prefix="reading")
            reader = Reader(threads, limits.max_bytes, load.settings.max_inflight_bytes // SHARE)
            self._at_work = (Means(pipeline, load.code_of), running, source, reader)

    async def score(self, tasks: Sequence[Task]) -> Part:
        """Rows of some images."""
        notes = Notes()
        if self._at_work is None:
            gone = self._gone or NotReady("The backend was not opened.")
            code = self._load.code_of(gone)
            rows = [failed_row(task, self._pinned, code, str(gone)) for task in tasks]
            return Part(rows, self._pinned.labels, time.perf_counter() - notes.began)
        means, running, source, reader = self._at_work
        asker = Asker("cluster", background=True)
        await Stint(means, self._options, source, reader, notes, self._pinned, running, asker).run(tasks)
        self._options = self._options.model_copy(update={"warmup": 0})
        return Part(notes.rows, notes.labels or self._pinned.labels, time.perf_counter() - notes.began)

    async def _loaded(self, limits: Limits) -> tuple[Running, Pipeline]:
        load = self._load
        with tempfile.TemporaryDirectory(prefix="parallax-") as name:  # the model is in memory when it is loaded
            folder = Path(name)
            await asyncio.to_thread(load.unpack, folder / "store")
            settings = load.settings.model_copy(update={"models_dir": folder / "store", "data_dir": folder / "data"})
            book = PlanBook(settings.data_dir / "plans", self._cpus)
            find = finder(Repository(settings.models_dir), settings, self._cpus, book, self._door)
            registry = Registry(settings)
            decoder = Decoder(self._cpus, limits)
            pin = registry.pin(load.pinned, lambda: asyncio.to_thread(lambda: find().get(load.pinned.name, [])))
            running = await self._stack.enter_async_context(pin)
        return running, Pipeline(registry, decoder, Metrics(), Activity())


class Scorer:
    """What Ray Data makes of it: one in each process of the pool, which is handed tables of images and labels."""

    def __init__(self, load: Any, cpus: int, permits: Any) -> None:  # noqa: ANN401
        """`load`: the reference to a `Load`, in a list so that Ray leaves it alone. `permits`: an actor's handle, or None."""
        import ray

        self._node = str(ray.get_runtime_context().get_node_id())
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="station", daemon=True).start()
        self._station = Station(ray.get(load[0]), cpus, PermitDoor(permits) if permits is not None else None)
        self._is_open = False

    def __call__(self, table: Any) -> Any:  # noqa: ANN401  # a pyarrow.Table to another
        """A row for each image."""
        part = asyncio.run_coroutine_threadsafe(self._score(columns.to_tasks(table)), self._loop).result()
        return columns.of_part(replace(part, node=self._node))

    async def _score(self, tasks: Sequence[Task]) -> Part:
        if not self._is_open:  # here and not when it is made: of that Ray tells less, and tries it over and over
            await self._station.open()
            self._is_open = True
        return await self._station.score(tasks)

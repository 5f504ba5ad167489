"""Images are read ahead of whoever sends them, and never more than there is room for."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.errors import ImageTooLarge, UnreadableImage
from service.scoring.jobs import Task
from service.scoring.reading import Found, Reader
from service.scoring.sources import FolderSource, Source
from service.settings import Settings
from tests.support.images import labelled, write_folder
from tests.unit.service.scoring.desks import office

LARGEST = 100


class Made(Source):
    """Images by their sizes: `30` has so many bytes."""

    def __init__(self, parallel: int = 1) -> None:
        self.parallel = parallel
        self.held = self.most = 0
        self.threads: set[str] = set()
        self.meeting: threading.Barrier | None = None
        self._lock = threading.Lock()

    def tasks(self) -> list[Task]:
        raise NotImplementedError

    def read(self, image: str, max_bytes: int) -> bytes:
        size = int(image.split("-", maxsplit=1)[0])
        self.threads.add(threading.current_thread().name)
        if self.meeting is not None:
            self.meeting.wait(10)
        if size < 0:
            raise UnreadableImage("broken")
        if size > max_bytes:
            raise ImageTooLarge("large")
        with self._lock:
            self.held += size
            self.most = max(self.most, self.held)
        return bytes(size)

    def drop(self, data: Found) -> None:
        with self._lock:
            self.held -= len(data) if isinstance(data, bytes) else 0


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4, thread_name_prefix="mine") as pool:
        yield pool


async def gone_through(
    source: Made, lengths: list[int], reader: Reader, concurrency: int = 3, together: int = 1
) -> dict[str, Found]:
    seen: dict[str, Found] = {}
    sizes: set[int] = set()
    often: Counter[str] = Counter()

    async def do(found: Sequence[tuple[Task, Found]]) -> None:
        await asyncio.sleep(0)
        sizes.add(len(found))
        for task, data in found:
            often[task.image] += 1
            seen[task.image] = data
            source.drop(data)

    tasks = [Task(f"{size}-{number}" if size >= 0 else f"{size}", None) for number, size in enumerate(lengths)]
    await reader.each(source, tasks, concurrency, do, together)
    assert often == dict.fromkeys((task.image for task in tasks), 1)
    assert max(sizes) <= together
    return seen


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("size", [1, 30, 99, 100])
@pytest.mark.parametrize("together", [1, 8])
async def test_images_in_memory_have_a_bound_of_bytes(
    threads: ThreadPoolExecutor, parallel: int, size: int, together: int
) -> None:
    source = Made(parallel)
    seen = await gone_through(source, [size] * 200, Reader(threads, LARGEST, 250), together=together)
    assert {len(data) for data in seen.values() if isinstance(data, bytes)} == {size}
    assert source.held == 0
    assert source.most <= 250
    assert all(name.startswith("mine") for name in source.threads)


async def test_room_for_one_image_is_enough(threads: ThreadPoolExecutor) -> None:
    source = Made(4)
    await gone_through(source, [100, 1, 60, 60, 100] * 20, Reader(threads, LARGEST, 1))
    assert source.most <= LARGEST


async def test_what_does_not_fit_beside_others_is_read_after_them_and_what_never_fits_is_an_error(
    threads: ThreadPoolExecutor,
) -> None:
    seen = await gone_through(Made(), [60, 60, 101, 40, 0, 100], Reader(threads, LARGEST, 300))
    assert [type(data) for _, data in sorted(seen.items(), key=lambda one: int(one[0].split("-")[1]))] == [
        bytes,
        bytes,
        ImageTooLarge,
        bytes,
        bytes,
        bytes,
    ]


async def test_slow_sources_are_read_side_by_side(threads: ThreadPoolExecutor) -> None:
    source = Made(4)
    source.meeting = threading.Barrier(4)
    assert len(await gone_through(source, [10] * 8, Reader(threads, LARGEST, 1000))) == 8


async def test_whoever_fails_stops_the_reading(threads: ThreadPoolExecutor) -> None:
    async def fail(_found: Sequence[tuple[Task, Found]]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await Reader(threads, LARGEST, 250).each(Made(), [Task("90", None)] * 50, 2, fail)


async def test_a_run_reads_on_its_own_threads_which_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "sets" / "set", labelled({"a": 20, "b": 20}))
    settings = Settings(data_dir=tmp_path / "data", datasets_dir=tmp_path / "sets", models_dir=tmp_path / "store")
    read, names = FolderSource.read, set[str]()

    def noted(self: FolderSource, image: str, max_bytes: int) -> bytes:
        names.add(threading.current_thread().name.rpartition("_")[0])
        return read(self, image, max_bytes)

    monkeypatch.setattr(FolderSource, "read", noted)
    async with office(settings) as here:
        job = await here.ended(await here.hand_in(dataset="set"))
        assert names == {"scoring-reads"}
        assert await here.desk.picture(job, "a/1.png")
        assert names == {"scoring-reads", "scoring"}
        ours = [one for one in threading.enumerate() if one.name.startswith("scoring")]
    for one in ours:
        await asyncio.to_thread(one.join, 10)
        assert not one.is_alive()


async def test_large_images_go_in_smaller_groups_so_that_all_who_work_side_by_side_have_some(threads: ThreadPoolExecutor) -> None:
    sizes: list[int] = []

    async def do(found: Sequence[tuple[Task, Found]]) -> None:
        sizes.append(len(found))

    reader = Reader(threads, LARGEST, 10 * LARGEST)
    tasks = [Task(f"{size}-{number}", None) for number, size in enumerate([20] * 9 + [1] * 16)]
    await reader.each(Made(), tasks, 20, do, together=8)
    assert sum(sizes) == len(tasks)
    assert sizes[:8] == [1] * 8, "two of them have more than a fortieth of the room: as much as each may have, in hand and ahead"
    assert max(sizes) == 8

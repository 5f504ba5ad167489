"""The same work on many items by a few threads, of which no more than those and one wait."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Results as they come. The first error ends it, once what had begun has ended: so `work` itself keeps what it has done."""
    with ThreadPoolExecutor(workers, thread_name_prefix="custom-vision") as pool:
        running: set[Future[Result]] = set()
        try:
            for item in items:
                running.add(pool.submit(work, item))
                if len(running) > workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from [one.result() for one in done]
            yield from (one.result() for one in as_completed(running))
        finally:
            for one in running:
                one.cancel()

"""One job's work in this process: its images through the pipeline that requests take, backend by backend.

Models of this machine go one after another, so that none is measured while another takes its processors; remote backends, which
take none, go together afterwards. An image that has its row is not sent again: whoever goes on with a job begins with those.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from service.domain import Identity
from service.errors import DatabaseFailed
from service.pipeline import Asker
from service.scoring import ledger as ledgers
from service.scoring.jobs import Job, Task
from service.scoring.ledger import Cancelled, Ledger
from service.scoring.machinery import Machinery
from service.scoring.reading import Reader
from service.scoring.sources import Source
from service.scoring.stint import Stint, failed_row
from service.scoring.store import LostLease

log = logging.getLogger("parallax.scoring")


class Run:
    """Made for one job, in one process."""

    def __init__(
        self, machinery: Machinery, job: Job, source: Source, tasks: Sequence[Task], ledger: Ledger, reader: Reader
    ) -> None:
        """`tasks` are all of the job's; `source` has their bytes."""
        self._machinery = machinery
        self._job = job
        self._source = source
        self._tasks = tasks
        self._ledger = ledger
        self._reader = reader
        self._asker = Asker(f"scoring {job.id}", background=True)

    async def run(self, done: dict[str, set[str]]) -> None:
        """Make every row that is not there yet. `done`: the images that have theirs, by backend."""
        writing = asyncio.ensure_future(self._ledger.run())
        working = asyncio.ensure_future(self._all(done))
        stopped = True
        try:
            await asyncio.wait((writing, working), return_when=asyncio.FIRST_COMPLETED)
            stopped = False
        finally:
            for task in (working, writing):
                task.cancel()
            await asyncio.wait((working, writing))
            if writing.cancelled() or isinstance(writing.exception(), Cancelled):  # what was answered may have been paid for
                if stopped:  # whatever the database says, this ends
                    with suppress(DatabaseFailed, LostLease, Cancelled):
                        await self._ledger.flush(0.0)
                else:
                    await self._ledger.flush(ledgers.PATIENCE_S)
        if not writing.cancelled():
            writing.result()  # raises
        working.result()

    async def _all(self, done: dict[str, set[str]]) -> None:
        away = []
        for progress in self._job.backends:
            pinned = progress.pinned
            left = [task for task in self._tasks if task.image not in done.get(pinned.name, ())]
            if not left:
                continue
            if self._remote(pinned):
                away.append(self._backend(pinned, left))
            else:
                await self._backend(pinned, left)
        working = [asyncio.ensure_future(one) for one in away]
        try:
            await asyncio.gather(*working)
        finally:  # of calls that cost money none is made for a run that has failed
            for one in working:
                one.cancel()
            if working:
                await asyncio.wait(working)

    def _remote(self, pinned: Identity) -> bool:
        served = [one for one in self._machinery.registry.running if one.identity.name == pinned.name]
        return any(one.backend.remote for one in served)

    async def _backend(self, pinned: Identity, tasks: Sequence[Task]) -> None:
        machinery = self._machinery
        async with AsyncExitStack() as stack:
            pin = machinery.registry.pin(pinned, lambda: machinery.watcher.candidates(pinned.name))
            try:
                running = await stack.enter_async_context(pin)
            except Exception as exc:  # noqa: BLE001  # it can't be had any more: every image says so, and the others go on
                log.warning("a job's backend is gone", extra={"job": self._job.id, "backend": pinned.name, "reason": str(exc)})
                for task in tasks:  # one by one: there is a bound on those that wait for the database
                    await self._ledger.add([failed_row(task, pinned, machinery.code_of(exc), str(exc))])
                return
            if machinery.elsewhere is not None:
                work = machinery.elsewhere(self._job, pinned, running, self._ledger)
            else:
                options = self._job.options
                work = Stint(machinery, options, self._source, self._reader, self._ledger, pinned, running, self._asker)
            await work.run(tasks)

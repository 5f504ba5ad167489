"""A job's images at one backend, on a cluster: blocks of images go out, rows come back to the ledger of this process."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from models.errors import ParallaxError
from service.cluster import columns
from service.cluster.columns import Part
from service.cluster.connection import Cluster
from service.cluster.feed import fed
from service.cluster.load import for_permits, packed
from service.cluster.permits import Permits
from service.cluster.station import Scorer
from service.domain import Identity
from service.errors import BackendFailed, UnknownVersion
from service.running import Running
from service.scoring.jobs import Job, Task
from service.scoring.ledger import Ledger
from service.scoring.rows import Row
from service.scoring.stint import failed_row
from service.settings import Settings

log = logging.getLogger("parallax.scoring")

BLOCK, REMOTE_BLOCK = 64, 16
"""Images that are handed out at once, and done again if their process dies; of paid calls fewer."""
BLOCKS_EACH = 4
"""For every process, if there are so many images: the last one to end should not end late."""
LAST_S = 5.0
"""For permits that are given back at the end."""


class ClusterStint:
    """Made for one backend of one job, with a connection to the cluster."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        code_of: Callable[[Exception], str],
        job: Job,
        pinned: Identity,
        running: Running,
        ledger: Ledger,
    ) -> None:
        """Partially applied to the first three, it is `service.scoring.machinery.Elsewhere`."""
        self._cluster = cluster
        self._settings = settings
        self._code_of = code_of
        self._job = job
        self._pinned = pinned
        self._remote = running.backend.remote
        self._metered = running.backend.tally is not None and running.backend.tally.metered
        self._most = running.backend.max_in_flight if self._remote else cluster.cpus
        self._ledger = ledger
        self.made: Counter[str] = Counter()
        """Rows by the node that made them."""

    async def run(self, tasks: Sequence[Task]) -> None:
        """Make the rows of these images, each once whatever dies. Raises `BackendFailed` if the cluster gives up."""
        left = {task.image: task for task in tasks}
        name = self._pinned.name
        began = False
        try:
            async with aclosing(fed(lambda: self._parts(tasks), f"cluster-{name}")) as parts:
                async for part in parts:
                    if not began:
                        self._ledger.begin(name, part.seconds)
                        began = True
                    await self._take(part, left)
        except ParallaxError:
            raise
        except Exception as exc:  # Ray's own errors, and those of what ran there
            raise BackendFailed(f"The cluster gave up on {name}: {_reason(exc)}") from exc
        finally:
            if began:
                self._ledger.end(name)
        if left:
            raise BackendFailed(f"The cluster brought no row of {len(left):,} images, {next(iter(left))!a} among them.")
        log.info("scored on a cluster", extra={"job": self._job.id, "backend": name, "rows": dict(self.made)})

    async def _take(self, part: Part, left: dict[str, Task]) -> None:
        new = [row for row in self._checked(part) if left.pop(row.image, None) is not None]
        self.made[part.node] += len(new)
        if new:  # a block may come twice, from a process that died on the way
            await self._ledger.add(new)

    def _checked(self, part: Part) -> Iterator[Row]:
        """Rows with their scores in the order of the labels that the job knows."""
        known = self._pinned.labels
        if part.labels and not known:
            self._pinned = replace(self._pinned, labels=part.labels)
            self._ledger.learn(self._pinned.name, part.labels)
        if not part.labels or part.labels == self._pinned.labels:
            yield from part.rows
        elif set(part.labels) == set(self._pinned.labels):
            places = [part.labels.index(label) for label in self._pinned.labels]
            for row in part.rows:
                yield row if row.scores is None else row._replace(scores=np.ascontiguousarray(row.scores[places]))
        else:
            gone = UnknownVersion("It answers with other labels than when the job began.")
            for row in part.rows:
                yield failed_row(Task(row.image, row.label), self._pinned, self._code_of(gone), str(gone))

    def _parts(self, tasks: Sequence[Task]) -> Iterator[Part]:
        """Blocks go out, parts come back as they are done. Blocks; on a thread of its own."""
        import ray

        processes = self._processes(len(tasks))
        size = min(REMOTE_BLOCK if self._remote else BLOCK, math.ceil(len(tasks) / (BLOCKS_EACH * processes)))
        blocks = math.ceil(len(tasks) / size)
        load = ray.put(packed(self._settings, self._job, self._pinned, processes, self._code_of))
        permits = self._permits() if self._metered else None
        dataset = ray.data.from_items([task._asdict() for task in tasks], override_num_blocks=blocks).map_batches(
            Scorer,
            batch_size=None,  # a block as it is
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=processes),
            fn_constructor_kwargs={"load": [load], "cpus": 1, "permits": permits},
            num_cpus=1,
            num_gpus=1 if self._settings.device == "cuda" and not self._remote else None,
        )
        try:
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield columns.to_part(table)
        finally:
            if permits is not None:
                with suppress(Exception):  # the connection may have gone first; leases end by themselves
                    ray.get(permits.close.remote(), timeout=LAST_S)
                    ray.kill(permits)

    def _processes(self, images: int) -> int:
        """One for a core, or a card; of a remote backend one for a machine. One alone where latency is measured."""
        if self._job.options.mode == "latency":
            return 1
        places = self._cluster.nodes if self._remote else self._cluster.cpus
        if self._settings.device == "cuda" and not self._remote:
            places = min(places, max(1, self._cluster.gpus))
        return max(1, min(places, self._most, self._job.options.concurrency or places, images))

    def _permits(self) -> Any:  # noqa: ANN401  # an actor's handle
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._cluster.here, soft=False)  # where the database is
        actor = ray.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=1000)(Permits)
        name = f"parallax-permits-{self._job.id}"
        return actor.options(name=name, num_cpus=0, scheduling_strategy=here).remote(for_permits(self._settings))


def _reason(exc: Exception) -> str:
    """The last line of what Ray says: the rest is a trace through its own code."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return f"{type(exc).__name__}: {lines[-1] if lines else 'no reason given'}"

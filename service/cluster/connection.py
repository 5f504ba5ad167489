"""The way to a Ray cluster, and what of this checkout goes there."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import service
from models.errors import UsageError
from service.errors import ConfigurationError

OWN_STORE_BYTES = 500_000_000
"""Of shared memory, at most, for objects of a cluster of this machine alone: models travel through it, and rows."""

ROOMS = tuple(str(Path(str(room.__file__)).parent) for room in (models, service))
"""The code that runs on the nodes is this, whatever is installed there: they need what it imports, and nothing else."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would tell its makers what it is used for
    # It warns that what a process is made with may be gone when it is made again; here it lives as long as the run.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # and start a cluster anew for who is late to notice that it has ended
}


@dataclass(frozen=True)
class Cluster:
    """What a run may use."""

    nodes: int
    cpus: int
    gpus: int
    here: str
    """Id of this machine's node."""

    @property
    def machine(self) -> str:
        """For people."""
        cards = f" and {self.gpus} GPUs" if self.gpus else ""
        return f"Ray, {self.nodes} {'node' if self.nodes == 1 else 'nodes'} with {self.cpus} cores{cards}"


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Cluster]:
    """Have a cluster for the length of a block. Blocks for some seconds.

    `address`: HOST:PORT, or `auto`, of one that this machine is a node of; None: one of this machine alone, of so many `cpus`,
    which ends with the block. Raises `UsageError` without Ray, `ConfigurationError` if the cluster can't be had.
    """
    ray = _ray()
    if address and "://" in address:
        raise UsageError(
            f"{address} is for clients outside a cluster, whom Ray Data does not serve. Start the run on a node of it, with "
            "--address auto; `ray job submit` does that from anywhere."
        )
    own: dict[str, Any] = {"num_cpus": cpus, "object_store_memory": OWN_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            runtime_env={"py_modules": list(ROOMS), "excludes": ["/store/", "__pycache__/"]},
            log_to_driver=False,
            configure_logging=False,  # it would change the format of everybody's lines
            **({} if address else own),
        )
    except Exception as exc:  # ConnectionError, RuntimeError, ValueError, and what its transport raises
        ray.shutdown()
        raise ConfigurationError(_refusal(address, exc)) from exc
    try:
        _hush(ray)
        alive = [node for node in ray.nodes() if node["Alive"]]
        total = ray.cluster_resources()
        here = ray.get_runtime_context().get_node_id()
        yield Cluster(len(alive), max(1, int(total.get("CPU", 0))), int(total.get("GPU", 0)), here)
    finally:
        ray.shutdown()


@asynccontextmanager
async def joined(address: str | None, cpus: int) -> AsyncIterator[Cluster]:
    """`connected`, for an event loop."""
    with ExitStack() as stack:
        cluster = await asyncio.to_thread(stack.enter_context, connected(address, cpus))
        try:
            yield cluster
        finally:
            await asyncio.to_thread(stack.close)


def _ray() -> Any:  # noqa: ANN401  # a module
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
        import ray.data
    except ImportError as exc:
        raise UsageError(
            "--engine ray needs Ray, which is not installed here: type `EXTRAS=ray scripts/env.sh serve-cpu`, here and on "
            "every node of the cluster."
        ) from exc
    return ray


def _hush(ray: Any) -> None:  # noqa: ANN401  # a module
    """Ray Data would draw bars of its own and tell of every step."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        handler.setLevel(max(handler.level, logging.ERROR))


def _refusal(address: str | None, exc: Exception) -> str:
    if address is None:
        return f"Ray could not be started on this machine: {exc}"
    return (
        f"There is no way into the Ray cluster at {address}: {exc} Start the run on one of its nodes, with the versions of Ray "
        "and Python that it runs on."
    )

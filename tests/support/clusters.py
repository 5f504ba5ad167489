"""A Ray cluster of several nodes on this machine: a raylet each, with processes and an object store of its own."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}
SETTINGS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
"""So that a node's death is noticed within seconds."""


@contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """`ray.cluster_utils.Cluster`, without dashboard and usage reports. The first node is where runs start."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_agent_register_timeout_ms"] = "60000"  # noqa: SIM112  # as Ray spells it: a busy machine starts its agents slowly
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": SETTINGS})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


def kill_node(cluster: Any, node: Any) -> None:  # noqa: ANN401
    """As if its power had gone."""
    cluster.remove_node(node, allow_graceful=False)


def kill_scorer(node: Any) -> None:  # noqa: ANN401
    """SIGKILL to a process of a node that scores at the moment."""
    (raylet,) = node.all_processes["raylet"]
    for path in Path("/proc").glob("[0-9]*"):
        if _is_scorer_of(path, raylet.process.pid):
            os.kill(int(path.name), signal.SIGKILL)
            return
    raise AssertionError("no process of that node scores")


def _is_scorer_of(process: Path, parent: int) -> bool:
    try:
        name = (process / "cmdline").read_bytes()
        status = (process / "status").read_text(encoding="utf-8")
    except OSError:
        return False  # it has ended
    return name.startswith(b"ray::MapWorker") and f"PPid:\t{parent}\n" in status

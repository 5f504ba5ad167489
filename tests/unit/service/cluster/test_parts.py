"""What goes to the processes of a cluster and what comes back, without one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import SecretStr

from models.errors import UsageError
from service.cluster import columns
from service.cluster.columns import Part
from service.cluster.connection import connected
from service.cluster.feed import fed
from service.cluster.load import for_permits, packed
from service.domain import Identity
from service.scoring.jobs import Job, Task
from service.scoring.options import Options
from service.scoring.rows import Row
from service.settings import load_settings
from tests.support.models import tiny_model

SCORES = np.array([1 / 3, 2 / 3, 1e-30], np.float32)
ANSWERED = Row("sea/1.jpg", "sea", "a", "1", "fp32", "sea", float(SCORES[1]), SCORES, 0.1, 1 / 3, 2e-9, 7.0, None)
FAILED = Row("ü 1.jpg", None, "a", "1", "fp32", None, None, None, None, None, None, None, "broken-image", "It is cut off.")
TINY = Identity("tiny", "onnx", "1", "fp32", "CPUExecutionProvider", ("dark", "bright"))


def job(options: Options) -> Job:
    return Job("1", "running", 0.0, 0.0, None, "", options, {"name": "set"}, cancel=False, note=None, backends=[])


def test_rows_come_back_as_they_went_to_the_last_bit() -> None:
    part = Part([ANSWERED, FAILED], ("a", "sea", "c"), 0.25, "node")
    back = columns.to_part(columns.of_part(part))
    assert replace(back, rows=[]) == replace(part, rows=[])
    for row, was in zip(back.rows, part.rows, strict=True):
        assert row._replace(scores=None) == was._replace(scores=None)
    assert back.rows[1].scores is None
    found = back.rows[0].scores
    assert found is not None
    assert found.dtype == np.dtype(np.float32)
    assert found.tobytes() == SCORES.tobytes()
    tasks = [Task("a", "b"), Task("c", None)]
    assert columns.to_tasks(pa.Table.from_pylist([task._asdict() for task in tasks])) == tasks


def test_a_backend_travels_with_its_own_files_and_with_no_key_of_others(tmp_path: Path) -> None:
    tiny_model(tmp_path / "store", precisions=("fp32", "int8"))
    keys = {"endpoint": "https://a.example/score", "key": "secret-of-a"}
    settings = load_settings(
        models_dir=tmp_path / "store", api_keys=SecretStr("name:0123456789abcdef"), azure_ml=keys | {"max_in_flight": 9}
    )
    load = packed(settings, job(Options(concurrency=9)), TINY, 4, str)
    assert set(load.files) == {f"tiny/1/{name}" for name in ("model.json", "model.onnx", "golden.npz")}
    assert load.options.concurrency == 2
    assert not load.settings.api_keys.get_secret_value()
    assert load.settings.azure_ml.endpoint is None
    load.unpack(tmp_path / "there")
    assert (tmp_path / "there/tiny/1/model.onnx").read_bytes() == (tmp_path / "store/tiny/1/model.onnx").read_bytes()
    remote = packed(settings, job(Options()), Identity("azure_ml", "azure_ml", "1", "", "", ("x", "y")), 4, str)
    assert remote.files == {}
    assert not for_permits(settings).api_keys.get_secret_value()
    assert not for_permits(settings).azure_ml.key.get_secret_value()
    assert remote.settings.azure_ml.key.get_secret_value() == "secret-of-a"
    assert remote.settings.azure_ml.max_in_flight == 2, "calls under way are divided among the processes"
    assert remote.settings.azure_ml.labels == ["x", "y"]


async def test_what_a_thread_brings_arrives_in_order_with_its_error() -> None:
    def bring() -> Iterator[int]:
        yield from (1, 2, 3)
        raise ValueError("no more")

    found = []
    with pytest.raises(ValueError, match="no more"):  # noqa: PT012  # it is raised while it is gone through
        async for piece in fed(bring, "a thread"):
            found.append(piece)  # noqa: PERF401  # and all that came before is looked at
    assert found == [1, 2, 3]


async def test_who_stops_does_not_wait_and_the_thread_ends_at_its_next_piece() -> None:
    go_on, over = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def bring() -> Iterator[int]:
        try:
            yield 1
            go_on.wait()
            yield 2
        finally:
            loop.call_soon_threadsafe(over.set)

    async with aclosing(fed(bring, "a thread")) as pieces:
        assert await anext(pieces) == 1
    assert not over.is_set()
    go_on.set()
    async with asyncio.timeout(30):
        await over.wait()


def test_a_client_s_address_is_refused_before_anything_starts() -> None:
    with pytest.raises(UsageError, match="ray job submit"), connected("ray://head:10001", 1):
        pass

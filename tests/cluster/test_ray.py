"""`parallax score --engine ray` on a real cluster of several nodes: the rows of a run in one process, whatever dies."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray.data
from ray.cluster_utils import Cluster
from rich.console import Console
from typer.testing import CliRunner, Result

from parallax import app
from service.cluster.columns import Part
from service.cluster.stint import ClusterStint
from service.score.asked import Asked
from service.score.board import Board
from service.score.local import local
from service.scoring.jobs import Task
from service.scoring.options import Options
from tests.support.clusters import cluster_of, kill_node, kill_scorer
from tests.support.custom_vision.accounts import serving_account
from tests.support.custom_vision.state import PREDICTION_KEY, Account
from tests.support.environment import settle
from tests.support.images import labelled, write_folder, write_zip
from tests.support.models import tiny_model

LABELS = ["dark", "grey", "bright"]
IMAGES = labelled(dict.fromkeys(LABELS, 16))
BROKEN = {"dark/broken.png": IMAGES["dark/1.png"][:60], "grey/empty.png": b"", "bright/text.jpg": b"no picture at all"}
RATE = 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_of(2) as cluster:
        yield cluster


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settle(monkeypatch, tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process begins before all are there: the first would be done with these few images before the second has started."""
    monkeypatch.setattr(ray.data.DataContext.get_current(), "wait_for_min_actors_s", 120)


def score(*words: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, words)])


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Of a file of predictions, without what differs from run to run."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in row.items() if name != "timing_ms"} for row in rows]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """How many rows came from each node, by backend."""
    found: dict[str, Counter[str]] = {}
    take = ClusterStint._take

    async def noted(stint: ClusterStint, part: Part, left: dict[str, Task]) -> None:
        found.setdefault(part.rows[0].backend, Counter())[part.node] += len(part.rows)
        await take(stint, part, left)

    monkeypatch.setattr(ClusterStint, "_take", noted)
    return found


def test_two_nodes_say_what_one_process_says_and_keep_one_rate(
    cluster: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Counter[str]]
) -> None:
    tiny_model(home / "store", "tiny", labels=LABELS)
    write_zip(home / "set.zip", IMAGES | BROKEN)
    account = Account()
    account.published(LABELS)
    with serving_account(account) as there:
        (project,) = there.predictions.account.projects
        given = {"ENDPOINT": there.url, "KEY": PREDICTION_KEY, "PROJECT": project, "PUBLISHED_NAME": "production", "RATE": RATE}
        for field, value in given.items():
            monkeypatch.setenv(f"PARALLAX_CUSTOM_VISION__{field}", str(value))
        results = {}
        for engine, more in (("local", ()), ("ray", ("--address", cluster.address))):
            files = ("--predictions", f"{engine}.jsonl", "--json", f"{engine}.json", "--report", f"{engine}.html")
            done = score("set.zip", "--backends", "tiny,custom_vision", "--engine", engine, *more, *files)
            assert done.exit_code == 0, done.output
            results[engine] = json.loads(Path(f"{engine}.json").read_text(encoding="utf-8"))
        assert there.predictions.busiest_second <= RATE
        assert {one.status for one in there.predictions.asked} == {200}
    rows = rows_of(Path("ray.jsonl"))
    assert rows == rows_of(Path("local.jsonl"))
    assert Counter(row["backend"] for row in rows) == dict.fromkeys(("tiny", "custom_vision"), len(IMAGES | BROKEN))
    assert {row["image"]: row["error"] for row in rows if row["error"] and row["backend"] == "tiny"} == {
        "dark/broken.png": "broken-image",
        "grey/empty.png": "empty-image",
        "bright/text.jpg": "unsupported-image",
    }
    here, away = (results[engine]["results"] for engine in ("local", "ray"))
    assert [one["quality"] for one in here["backends"]] == [one["quality"] for one in away["backends"]]
    assert here["pairs"] == away["pairs"]
    assert away["run"]["machine"] == "Ray, 2 nodes with 2 cores"
    assert all(one["images_per_second"] for one in away["backends"])
    assert set(made) == {"tiny", "custom_vision"}
    assert all(len(nodes) == 2 for nodes in made.values()), "both nodes did work, for every backend"


class Killer(Board):
    """Does something as soon as something else has come to be."""

    def __init__(self, deeds: Sequence[tuple[Callable[[int], bool], Callable[[], None]]]) -> None:
        """Conditions, of the rows that there are, with what is done then."""
        super().__init__(Console(stderr=True))
        self.left = list(deeds)

    def show(self, progress: Mapping[str, Any]) -> None:
        done = sum(one["progress"]["done"] for one in progress["backends"])
        for deed in [one for one in self.left if one[0](done)]:
            self.left.remove(deed)
            deed[1]()
        super().show(progress)


async def test_processes_and_nodes_that_die_lose_no_row_and_double_none(
    cluster: Cluster, home: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, Counter[str]]
) -> None:
    images = labelled(dict.fromkeys(LABELS, 64))
    write_folder(home / "set", images)
    monkeypatch.setenv("PARALLAX_FAKE__LABELS", json.dumps(LABELS))
    monkeypatch.setenv("PARALLAX_FAKE__LATENCY_MS", "30")
    monkeypatch.setenv("PARALLAX_FAKE__MAX_BATCH_SIZE", "1")
    third = cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    board = Killer(
        [
            (lambda done: done > 0, lambda: kill_scorer(cluster.head_node)),
            (lambda _done: made.get("fake", Counter())[third.node_id] > 0, lambda: kill_node(cluster, third)),
        ]
    )
    asked = Asked("set", Options(backends=["fake"], warmup=0), address=cluster.address)
    with board:
        async with local(asked, board, on_ray=True) as outcome:
            assert not board.left, "both were killed while the run went on"
            assert outcome.info["state"] == "succeeded", outcome.info["note"]
            rows = [
                json.loads(line) for part in [page async for page in outcome.predictions("jsonl")] for line in part.splitlines()
            ]
    assert Counter(row["image"] for row in rows) == dict.fromkeys(images, 1)
    assert all(row["predicted"] for row in rows)

"""`parallax score`: the same run in this process and on a server, stopped and gone on with, refused with a reason."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from models.errors import ParallaxError
from parallax import app
from tests.api.conftest import LABELS
from tests.support.environment import settle
from tests.support.images import labelled, write_folder, write_zip
from tests.support.models import tiny_model
from tests.support.server import PATIENCE_S, Server, eventually, serving

COUNT = {"dark": 7, "grey": 6, "bright": 5}
IMAGES = labelled(COUNT)
KEY = "a-key-of-the-tests"
SLOW = {"fake__labels": LABELS, "fake__latency_ms": 60, "fake__max_batch_size": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    tiny_model(folder / "store", "one", labels=LABELS)
    tiny_model(folder / "store", "two", labels=LABELS, sharpness=-20)
    write_folder(folder / "set", IMAGES | {"dark/broken.png": IMAGES["dark/1.png"][:60]})
    write_zip(folder / "sets" / "set.zip", {f"wrapper/{name}": data for name, data in IMAGES.items()})
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with serving(home, datasets_dir=home / "sets", api_keys=f"tests:{KEY}") as server:
        yield server


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a developer's, and the server's key."""
    settle(monkeypatch, home)
    monkeypatch.setenv("PARALLAX_API_KEY", KEY)


def score(*words: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, words)])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def said(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not differ from run to run."""
    return [{name: value for name, value in row.items() if name != "timing_ms"} for row in rows]


def test_a_run_in_this_process_and_one_on_a_server_say_the_same(server: Server, home: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, more in ((here, ()), (there, ("--server", server.url))):
        folder.mkdir()
        files = ("--report", folder / "r.html", "--json", folder / "r.json", "--predictions", folder / "r.jsonl")
        done = score(home / "set", "--backends", "two,one", "--seed", 3, *files, *more)
        assert (done.exit_code, done.exception.__class__) == (0, SystemExit if done.exception else type(None)), done.output
        assert "one 1 fp32" in done.stdout
        assert "100.0 %" in done.stdout
        assert "two: 19 of 19" in done.stderr
        assert (folder / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    rows = rows_of(here / "r.jsonl")
    assert Counter(row["backend"] for row in rows) == {"one": 19, "two": 19}
    assert [row["error"] for row in rows if row["image"] == "dark/broken.png"] == ["broken-image", "broken-image"]
    assert said(rows) == said(rows_of(there / "r.jsonl"))
    own, told = (json.loads((folder / "r.json").read_text(encoding="utf-8")) for folder in (here, there))
    assert own.keys() == told.keys()
    assert own["options"] | {"dataset": ""} == told["options"] | {"dataset": ""}
    assert [one["quality"] for one in own["results"]["backends"]] == [one["quality"] for one in told["results"]["backends"]]
    assert own["results"]["pairs"] == told["results"]["pairs"]
    assert list((home / "own" / "score").iterdir()) == [], "what ended leaves nothing"


def test_parquet_and_csv_hold_what_json_lines_hold(server: Server, home: Path, tmp_path: Path) -> None:
    with server.client(headers={"X-API-Key": KEY}) as client:
        job = score("set.zip", "--server", server.url, "--on-server", "--limit", 5, "--detach").stdout.strip()
        eventually(lambda: client.get(job).json()["state"] == "succeeded", "the job ended")
        lines = [json.loads(line) for line in client.get(f"{job}/predictions").text.splitlines()]
        reply = client.get(f"{job}/predictions?format=parquet").raise_for_status()
        (tmp_path / "there.parquet").write_bytes(reply.content)
    assert reply.headers["content-type"] == "application/vnd.apache.parquet"
    assert reply.headers["content-disposition"].endswith('.parquet"')
    flat = [
        {name: value for name, value in line.items() if name != "timing_ms"}
        | {f"{name}_ms": (line["timing_ms"] or {}).get(name) for name in ("queue", "decode", "infer", "total")}
        for line in lines
    ]
    assert parquet.read_table(tmp_path / "there.parquet").to_pylist() == flat
    assert len(flat) == 10
    for form in ("csv", "parquet"):
        assert score(home / "set", "--backends", "one", "--predictions", tmp_path / f"here.{form}").exit_code == 0
    table = parquet.read_table(tmp_path / "here.parquet")
    with (tmp_path / "here.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert table.column_names == list(cells[0])
    steady = ("image", "backend", "label", "predicted", "error")
    assert table.select(steady).to_pylist() == [{name: cell[name] or None for name in steady} for cell in cells]


def test_annotations_are_scored_with_what_lies_beside_them(home: Path, tmp_path: Path) -> None:
    lines = [{"image_url": f"../set/{name}", "label": "x"} for name in IMAGES]
    (home / "notes.jsonl").write_text("\n".join(json.dumps(line | {"image_url": line["image_url"][3:]}) for line in lines))
    done = score(
        home / "notes.jsonl",
        "--label-map",
        "x=dark",
        "--backends",
        "one",
        "--predictions",
        tmp_path / "r.jsonl",
        "--mode",
        "latency",
    )
    assert done.exit_code == 0, done.output
    assert Counter((row["label"], row["predicted"]) for row in rows_of(tmp_path / "r.jsonl"))["dark", "dark"] == 7


def test_a_run_of_which_a_backend_answers_nothing_ends_with_status_1(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", {"dark/1.png": IMAGES["dark/1.png"][:60]})
    done = score(tmp_path / "set", "--backends", "one")
    assert done.exit_code == 1
    assert "broken-image" in done.stdout


@contextmanager
def started(*words: object, **settings: object) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, with a stand-in for a backend that makes the run last."""
    env = os.environ | {
        f"PARALLAX_{name.upper()}": json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in settings.items()
    }
    command = [sys.executable, "-m", "parallax", "score", *map(str, words)]
    with subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # a shell's background job ignores it
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def begins(process: "subprocess.Popen[str]") -> None:
    """Wait until it says what it is about to do, without taking it the processor."""
    assert process.stderr
    while (line := process.stderr.readline()) and "images of " not in line:
        pass


def written(home: Path) -> int:
    """Rows of the run under way."""
    for path in (home / "own" / "score").glob("*/parallax.db"):
        with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as database:
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'scoring_rows'").fetchone():
                return int(database.execute("SELECT count(*) FROM scoring_rows").fetchone()[0])
    return 0


def test_a_killed_run_goes_on_and_counts_every_image_once(home: Path, tmp_path: Path) -> None:
    words = (home / "set", "--backends", "fake,one", "--concurrency", 1, "--predictions", tmp_path / "r.jsonl")
    begun, told, status = 0, "", 0
    for number in (signal.SIGKILL, signal.SIGINT):
        with started(*words, **SLOW) as process:
            begins(process)
            eventually(lambda before=begun: written(home) > before, "it has written more rows")  # type: ignore[misc]
            process.send_signal(number)
            _, told = process.communicate(timeout=PATIENCE_S)
            status = process.returncode
        begun = written(home)
        assert 0 < begun < 38, "it was stopped on the way"
    assert (status, "goes on from here" in told, "Traceback" in told) == (1, True, False), told
    with started(*words, **SLOW) as process:
        told = process.stderr.read() if process.stderr else ""
        process.wait(PATIENCE_S)
    assert process.returncode == 0, told
    assert f"which has {begun} of 38 answers" in told
    often = Counter((row["backend"], row["image"]) for row in rows_of(tmp_path / "r.jsonl"))
    assert set(often.values()) == {1}
    assert len(often) == 38
    assert list((home / "own" / "score").iterdir()) == []


def test_what_can_t_go_on_now_is_kept_for_later(home: Path) -> None:
    words = (home / "set", "--backends", "fake", "--concurrency", 1)
    with started(*words, **SLOW) as process:
        begins(process)
        eventually(lambda: written(home), "it has written rows")
        process.kill()
    begun = written(home)
    with started(*words) as process:
        told = process.stderr.read() if process.stderr else ""
        process.wait(PATIENCE_S)
    assert (process.returncode, "no backend 'fake'" in told) == (2, True), told
    assert written(home) == begun
    with closing(sqlite3.connect(next((home / "own" / "score").glob("*/parallax.db")))) as database:
        database.execute("UPDATE scorings SET state = 'failed', ended = began, owner = NULL, lease = NULL")
        database.commit()
    with started(*words, **SLOW) as process:
        told = process.stderr.read() if process.stderr else ""
        process.wait(PATIENCE_S)
    assert (process.returncode, f"which has {begun} of 19 answers" in told) == (0, True), told
    assert list((home / "own" / "score").iterdir()) == []


def test_fresh_forgets_what_a_killed_run_left(home: Path) -> None:
    words = (home / "set", "--backends", "fake", "--concurrency", 1)
    with started(*words, **SLOW) as process:
        begins(process)
        eventually(lambda: written(home), "it has written rows")
        process.kill()
    with started(*words, "--fresh", **SLOW) as process:
        told = process.stderr.read() if process.stderr else ""
        process.wait(PATIENCE_S)
    assert process.returncode == 0, told
    assert "Going on" not in told


def test_ctrl_c_cancels_the_job_on_the_server(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow: Mapping[str, Any] = {**SLOW, "fake__latency_ms": 200}
    with serving(tmp_path, **slow) as server, server.client() as client:
        with started(home / "set", "--server", server.url) as process:
            begins(process)
            eventually(lambda: (client.get("/v1/scorings").json()["scorings"] or [{}])[0].get("state") == "running", "it runs")
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, "Cancelled." in told, "Traceback" in told) == (1, True, False), told
        eventually(lambda: client.get("/v1/scorings").json()["scorings"][0]["state"] == "cancelled", "the job was cancelled")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nowhere",), "There is no nowhere"),
        (("set", "--backends", "three"), "'three'. There are: one, two"),
        (("set", "--backends", ""), "backends names none"),
        (("set", "--mode", "latency", "--concurrency", "2"), "one image at a time"),
        (("set", "--label-map", "dark"), "FOLDER=LABEL"),
        (("set", "--label-map", "dark=black"), "Say in `label_map`"),
        (("set", "--predictions", "x.xlsx"), "must end with .jsonl, .csv or .parquet"),
        (("set", "--report", "no/such/folder.html"), "can't be written"),
        (("set", "--on-server"), "--server URL"),
        (("set", "--server", "localhost"), "no address such as"),
        (("set", "--server", "http://me:secret@localhost"), "PARALLAX_API_KEY"),
        (("set", "--server", "http://localhost", "--fresh"), "leave them out"),
        (("set", "--server", "http://localhost", "--detach", "--json", "x.json"), "waits for nothing"),
    ],
)
def test_what_can_t_be_done_is_refused_with_the_reason(words: tuple[str, ...], reason: str, home: Path) -> None:
    done = score(*words)
    assert reason in f"{done.exception}"
    assert isinstance(done.exception, ParallaxError)
    assert not list((home / "own" / "score").glob("*")), "a refusal leaves nothing"


def test_what_a_server_refuses_is_told_in_its_words(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(*words: object) -> str:
        return f"{score(*words, '--server', server.url).exception}"

    assert "has no backend three. It has: one, two." in refusal("set", "--backends", "three")
    assert "GET /v1/datasets lists them" in refusal("nothing.zip", "--on-server")
    assert "Say in `label_map`" in refusal("set", "--label-map", "dark=black")
    assert "a server takes zips and folders" in refusal(write_folder(home, {"x.jsonl": b"{}"}) / "x.jsonl")
    monkeypatch.setenv("PARALLAX_API_KEY", "another-key-than-the-server-s")
    assert "asks for an API key" in refusal("set")
    assert KEY not in server.text


def test_a_server_that_is_not_there_is_status_1() -> None:
    done = score("set", "--server", "http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "can't be reached" in done.stderr

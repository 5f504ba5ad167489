"""The soak, played for some seconds on a tiny model, and the parts of it that judge."""

import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench import stage
from loadtest.bench.beside import Beside
from loadtest.bench.images import Known
from loadtest.bench.soak import kills, slow
from loadtest.bench.soak.kills import Kills, listeners, workers_of
from loadtest.bench.soak.plan import Plan
from loadtest.bench.soak.rude import Rude, RudeCallers, kinds_of
from loadtest.bench.soak.scenario import HEADER, soak
from loadtest.bench.soak.scorer import differences
from loadtest.bench.soak.slow import SlowCallers
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model
from tests.unit.loadtest.tiny import Exchange, reply, tiny_server

LABELS = {"dark": 6, "grey": 6, "bright": 6}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")


def test_a_service_with_two_workers_keeps_its_promises_for_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CAPACITY_S", 1.0)
    stored = tiny_model(tmp_path / "store", labels=list(LABELS))
    images = write_folder(tmp_path / "images", labelled(LABELS, "JPEG"))
    sheet = soak(stored, str(images), Plan(12, load=0.05, workers=2, body_timeout_s=3))
    assert list(sheet.unforeseen) == []
    assert [len(row) for row in sheet.rows] == [len(HEADER)] * 3
    for row in sheet.rows:
        requests, answered, refused, _, lost = (int(cell.replace(",", "")) for cell in row[1:6])
        assert requests == answered + refused > 0
        assert lost == 0
    told = "\n".join(sheet.notes)
    for part in (
        "times a worker was killed; the longest time until another listened",
        "x broken image (422)",
        "x body-too-slow",
        "Unforeseen: nothing",
    ):
        assert part in told
    assert "`custom_vision` was killed 0 times" not in told
    assert "Scoring: 0 jobs" not in told
    assert " 0 took over" not in told
    assert " 0 corrupt ones" not in told


class Failing(Beside):
    def step(self) -> None:
        raise ValueError("no")

    def told(self) -> str:
        return ""


def test_what_goes_wrong_beside_the_load_is_kept_and_the_thread_goes_on() -> None:
    failing = Failing(0.001)
    failing.start()
    limit = time.monotonic() + 10
    while len(failing.unforeseen) < 2 and time.monotonic() < limit:
        os.sched_yield()
    failing.stop()
    assert failing.unforeseen[:2] == ["Failing: ValueError: no"] * 2


def test_only_breaks_just_after_a_kill_are_excused() -> None:
    killed = Kills()
    killed.times.append(100.0)
    assert [killed.excuse(when) for when in (99.9, 100.0, 100.9, 102.0)] == [False, True, True, False]


def test_listening_sockets_are_counted_and_others_are_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert listeners(port) == 1
    assert listeners(port) == 0


def test_workers_are_told_from_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input() # spawn_main"], stdin=subprocess.PIPE) as worker:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            monkeypatch.setattr(kills, "tree", lambda pid: [pid, worker.pid, other.pid])
            assert workers_of(os.getpid()) == [worker.pid]
            other.kill()
        worker.kill()


def test_a_reply_that_a_rude_caller_should_not_get_is_unforeseen() -> None:
    def respond(exchange: Exchange) -> None:
        exchange.socket.sendall(reply(b"broken-image" if exchange.number else b"oops", "422 Unprocessable Entity"))

    with tiny_server(respond) as tiny:
        callers = RudeCallers(
            ("127.0.0.1", tiny.port), [one for one in kinds_of("x", b"12") if one.name == "broken image"], Kills(), 0
        )
        callers.step()
        assert callers.unforeseen == ["broken image: 422 b'oops'"]
        callers.step()
        assert len(callers.unforeseen) == 1
        assert "1 x broken image (422)" in callers.told()


@pytest.mark.parametrize("excused", [True, False])
def test_a_connection_that_breaks_under_a_rude_caller_is_excused_by_a_kill_alone(excused: bool) -> None:
    killed = Kills()
    with tiny_server(lambda exchange: exchange.socket.shutdown(socket.SHUT_RDWR)) as tiny:
        callers = RudeCallers(("127.0.0.1", tiny.port), [Rude("x", kinds_of("x", b"12")[1].data, 422)], killed, 0)
        if excused:
            killed.times.append(time.monotonic())
            callers.step()
        else:
            with pytest.raises(OSError, match="x: "):
                callers.step()


def test_slow_callers_who_are_not_told_so_are_unforeseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "CALLERS", 2)
    monkeypatch.setattr(slow, "HEADERS_S", -slow.SLACK_S)
    with socket.create_server(("127.0.0.1", 0)) as server:
        callers = SlowCallers(server.getsockname(), "x", Kills(), -slow.SLACK_S)
        callers.step()
        callers._read()
        assert sorted(callers.unforeseen) == [
            "a slow caller was not told body-too-slow in time",
            "a slow caller was not told headers-too-slow in time",
        ]


FILES = {"dark/0.jpg": Known(b"", "grey"), "dark/1.jpg": Known(b"", "dark")}


def job(**other: Any) -> dict[str, Any]:  # noqa: ANN401  # a job's fields, as JSON has them
    return {"state": "succeeded", "note": None, "backends": [{"accuracy": 0.5}]} | other


def rows(*predicted: str) -> list[dict[str, Any]]:
    return [{"image": image, "predicted": label} for image, label in zip(itertools.cycle(FILES), predicted, strict=False)]


def test_a_job_with_the_right_numbers_has_no_differences() -> None:
    assert differences(job(), rows("grey", "dark"), FILES) == []


@pytest.mark.parametrize(
    ("found", "lines", "told"),
    [
        (job(state="failed", note="why"), rows("grey", "dark"), "it ended as failed: why"),
        (job(), rows("grey"), "1 rows for 2 images"),
        (job(), rows("grey", "dark", "grey"), "3 rows for 2 images"),
        (job(), rows("grey", "grey"), "1 rows are wrong"),
        (job(backends=[{"accuracy": 1.0}]), rows("grey", "dark"), "the accuracy is 1.0 instead of 1/2"),
        (job(backends=[{"accuracy": None}]), rows("grey", "dark"), "the accuracy is None"),
    ],
)
def test_a_job_that_says_otherwise_is_found_out(found: dict[str, Any], lines: list[dict[str, Any]], told: str) -> None:
    (difference,) = differences(found, lines, FILES)
    assert difference.startswith(told)

"""Every image is asked about once, whatever happens on the way, and the figures are those of its answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.custom_vision_limits import Limits
from models.errors import UsageError
from tests.support.custom_vision.script import Fault
from tests.support.custom_vision.state import Project
from tests.support.images import encode, labelled, picture, write_folder, write_zip
from tests.unit.training.customvision.conftest import Cloud
from training.customvision import score as module
from training.customvision.answers import report
from training.customvision.client import ATTEMPTS, ServiceError
from training.customvision.score import score

LEARNT = labelled({"dark": 6, "grey": 6, "bright": 6}, width=16, height=16)


@pytest.fixture
def project(cloud: Cloud) -> Project:
    project = cloud.filled(LEARNT)
    cloud.trained(project, published="production")
    return project


@pytest.fixture
def ask(cloud: Cloud, project: Project, tmp_path: Path) -> Callable[..., Any]:
    def run(source: Path, **options: Any) -> Any:  # noqa: ANN401
        return score(cloud.prediction(), project.id, "production", [str(source)], tmp_path / "data", **options)

    return run


def asked(cloud: Cloud) -> int:
    return cloud.script.count("/image/nostore")


def test_accuracy_confusion_latency_and_cost(cloud: Cloud, ask: Callable[..., Any], tmp_path: Path) -> None:
    files = labelled({"dark": 4, "grey": 4, "bright": 4}, width=16, height=16)
    files["dark/wrong.png"] = encode(picture(16, 16).point([250] * 768), "PNG")
    tally, problems, file = ask(write_zip(tmp_path / "test.zip", files), usd_per_1000=2.0)
    assert (tally.accuracy.correct, tally.accuracy.images, problems) == (12, 13, [])
    assert tally.accuracy.low < 12 / 13 < tally.accuracy.high
    assert tally.labels == ["bright", "dark", "grey"]
    assert tally.confusion == [[4, 0, 0], [1, 4, 0], [0, 0, 4]]
    assert tally.usd == pytest.approx(0.026)
    assert 0 < tally.latency_ms["p50"] <= tally.latency_ms["p99"]
    assert report(tally).accuracy == tally.accuracy
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["published_name"] == "production"
    assert {line["path"] for line in lines[1:]} == set(files)
    assert all(sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-3) for line in lines[1:])


def test_it_goes_on_where_it_was_and_asks_about_no_image_twice(cloud: Cloud, ask: Callable[..., Any], tmp_path: Path) -> None:
    source = write_folder(tmp_path / "test", labelled({"dark": 5, "bright": 5}, width=16, height=16))
    seen = []

    def step(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(source, workers=2, step=step)
    assert seen[0] == (0, 10)
    tally, _, file = ask(source, workers=2)
    assert tally.images == 10
    assert asked(cloud) == 10
    assert len(file.read_text().splitlines()) == 11
    assert ask(source)[0].accuracy == tally.accuracy
    assert asked(cloud) == 10


def test_failures_and_throttling_lose_and_double_nothing(cloud: Cloud, ask: Callable[..., Any], tmp_path: Path) -> None:
    source = write_folder(tmp_path / "test", labelled({"dark": 20, "bright": 20}, width=16, height=16))
    gateway = b'{"error": {"code": "429", "message": "Rate limit is exceeded. Try again in 3 seconds."}}'
    cloud.script.faults = [
        Fault("/image/nostore", 500, b""),
        Fault("/image/nostore", 429, gateway),
        Fault("/image/nostore", 502, b"<html>Bad Gateway</html>"),
        Fault("/image/nostore", 200, b"<html>?</html>", {"Content-Type": "text/html"}),
    ]
    assert len(cloud.script.faults) < ATTEMPTS, "or one image, meeting them all, may rightly be given up"
    tally, problems, file = ask(source, workers=4)
    assert (tally.images, problems) == (40, [])
    assert asked(cloud) == 40 + 4
    paths = [json.loads(line)["path"] for line in file.read_text().splitlines()[1:]]
    assert len(paths) == len(set(paths)) == 40
    assert max(cloud.time.slept) >= 3


def test_an_image_without_an_answer_is_named_and_not_counted(cloud: Cloud, ask: Callable[..., Any], tmp_path: Path) -> None:
    files = labelled({"dark": 2, "bright": 2}, width=16, height=16) | {"dark/text.png": b"nothing"}
    cloud.script.faults = [Fault("/image/nostore", 400, b'{"code": "BadRequestImageFormat", "message": "No."}')]
    tally, problems, _ = ask(write_folder(tmp_path / "test", files), workers=1)
    assert (tally.images, tally.not_scored) == (3, 2)
    assert {one.path for one in problems} == {"bright/1.png", "dark/text.png"}
    assert "BadRequestImageFormat" in problems[0].reason
    assert ask(tmp_path / "test", workers=1)[0].images == 4, "the next run asks about them again"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b'{"code": "NotFoundIteration", "message": "Invalid iteration"}', "NotFoundIteration"),
        (401, b'{"error": {"code": "401", "message": "Access denied"}}', "Is PARALLAX_CUSTOM_VISION__KEY the key"),
        (403, b'{"code": "BadRequestExceededQuota", "message": "Quota"}', "Quota"),
    ],
)
def test_what_every_image_would_be_told_ends_it(
    cloud: Cloud, ask: Callable[..., Any], tmp_path: Path, status: int, body: bytes, words: str
) -> None:
    source = write_folder(tmp_path / "test", labelled({"dark": 5, "bright": 5}, width=16, height=16))
    cloud.script.faults = [Fault("/image/nostore", status, body, times=99)]
    with pytest.raises(ServiceError, match=words):
        ask(source, workers=1)
    assert asked(cloud) <= 3


def test_a_service_that_is_down_is_not_asked_about_every_image(
    cloud: Cloud, ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FAILED", 2)
    source = write_folder(tmp_path / "test", labelled({"dark": 5, "bright": 5}, width=16, height=16))
    cloud.script.faults = [Fault("/image/nostore", 400, b"", times=99)]
    with pytest.raises(UsageError, match="2 images in a row have no answer; the last: classifying"):
        ask(source, workers=1)


def test_answers_of_two_models_or_other_images_are_not_mixed(
    cloud: Cloud, ask: Callable[..., Any], project: Project, tmp_path: Path
) -> None:
    files = labelled({"dark": 2, "bright": 2}, width=16, height=16)
    source, out = write_folder(tmp_path / "test", files), tmp_path / "answers.jsonl"
    ask(source, out=out)
    out.write_text("\n".join(out.read_text().splitlines()[:-1]) + "\n")
    project.iterations[0].publish_name = None
    cloud.trained(project, published="production")
    with pytest.raises(UsageError, match=r"changed on the way .* these are answers of two models"):
        ask(source, out=out)
    more = write_folder(tmp_path / "more", files | {"dark/9.png": files["dark/1.png"]})
    with pytest.raises(UsageError, match="about other images or from another model"):
        ask(more, out=out)
    out.write_text('{"some": "json"}\n')
    with pytest.raises(UsageError, match="holds something else than answers"):
        ask(source, out=out)


def test_a_month_of_the_free_tier_is_not_spent_on_a_half(
    cloud: Cloud, ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_folder(tmp_path / "test", labelled({"dark": 2, "bright": 2}, width=16, height=16))
    limits = Limits(5000, 50, 10, 2, 2, 3)
    monkeypatch.setattr(module, "LIMITS", {"F0": limits})
    with pytest.raises(UsageError, match="4 images are to be scored; tier F0 answers 3 a month"):
        ask(source, tier="F0")
    assert asked(cloud) == 0

"""Every image of the class folders gets there once, and what does not is named with its reason."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from models.custom_vision_limits import Tier
from models.errors import UsageError
from tests.support.custom_vision.script import Fault
from tests.support.custom_vision.state import TRAINING_KEY
from tests.support.images import encode, labelled, picture, plain, write_folder, write_zip
from tests.support.server import eventually
from tests.unit.training.customvision.conftest import Cloud
from training.customvision import upload as module
from training.customvision.client import ServiceError
from training.customvision.survey import survey
from training.customvision.upload import Upload, upload


def send(cloud: Cloud, source: Path, folder: Path, *, workers: int = 2, tier: Tier = "S0", domain: str | None = None) -> Upload:
    sources = [str(source)]
    return upload(cloud.training(), "scenes", sources, survey(sources), folder, domain=domain, tier=tier, workers=workers)


def held(cloud: Cloud) -> list[bytes]:
    (project,) = cloud.account.projects.values()
    return sorted(image.data for image in project.images.values())


def reasons(result: Upload) -> dict[str, str]:
    return {one.path: one.reason for one in result.problems}


def test_all_of_them_in_batches_and_nothing_the_second_time(cloud: Cloud, tmp_path: Path) -> None:
    files = labelled({"dark": 70, "bright": 60}, width=16, height=16)
    source = write_zip(tmp_path / "photos.zip", files)
    result = send(cloud, source, tmp_path / "data")
    assert (result.created, result.sent, result.duplicates, result.present, result.problems) == (True, 130, 0, 0, [])
    (project,) = cloud.account.projects.values()
    assert {tag.name for tag in project.tags} == {"dark", "bright"}
    assert project.classification_type == "Multiclass"
    tags = {tag.id: tag.name for tag in project.tags}
    assert {(tags[image.tags[0]], image.data) for image in project.images.values()} == {
        (path.split("/")[0], data) for path, data in files.items()
    }
    assert cloud.script.count("/images/files") == 3, "64, 64, 2"
    again = send(cloud, source, tmp_path / "data")
    assert (again.created, again.sent, again.present) == (False, 0, 130)
    assert cloud.script.count("/images/files") == 3
    assert set(cloud.script.received.values()) == {1}


def test_without_its_journal_what_is_there_is_recognised(cloud: Cloud, tmp_path: Path) -> None:
    files = labelled({"dark": 8, "bright": 8}, width=16, height=16)
    source = write_folder(tmp_path / "photos", files)
    cloud.filled(dict(list(files.items())[:10]) | {"other/1.png": plain(99)})
    result = send(cloud, source, tmp_path / "data")
    assert (result.created, result.sent, result.present) == (False, 6, 10)
    assert len(cloud.script.received) == 6
    assert set(files.values()) < set(held(cloud))
    assert cloud.script.keys_at_storage == 0
    cloud.account.projects["x"] = next(iter(cloud.account.projects.values()))
    with pytest.raises(UsageError, match="2 projects are named 'scenes'; say which by its id"):
        send(cloud, source, tmp_path / "data")


def test_what_was_deleted_there_is_sent_again(cloud: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 3, "bright": 3}, width=16, height=16))
    send(cloud, source, tmp_path / "data")
    (project,) = cloud.account.projects.values()
    del project.images[next(iter(project.images))]
    result = send(cloud, source, tmp_path / "data")
    assert (result.sent, result.present) == (1, 5)


def test_what_cannot_be_sent_is_named_and_the_rest_gets_there(cloud: Cloud, tmp_path: Path) -> None:
    good, twice = encode(picture(20, 20, seed=1), "PNG"), encode(picture(20, 20, seed=2), "PNG")
    large = encode(picture(1500, 1500, seed=3).effect_spread(400), "BMP")
    assert len(large) > 6_000_000
    half = encode(picture(64, 64, seed=4), "JPEG")[:400]
    source = write_folder(
        tmp_path / "photos",
        {
            "sea/good.png": good,
            "sea/copy.png": good,
            "sea/twice.png": twice,
            "ice/twice.png": twice,
            "ice/web.webp": encode(picture(20, 20, seed=5), "WEBP"),
            "ice/large.bmp": large,
            "ice/half.jpg": half,
            "ice/text.png": b"no image at all",
            "ice/strip.png": encode(Image.new("RGB", (300, 10)), "PNG"),
        },
    )
    result = send(cloud, source, tmp_path / "data")
    assert result.sent == 3
    assert set(reasons(result)) == {"sea/twice.png", "ice/twice.png", "ice/half.jpg", "ice/text.png", "ice/strip.png"}
    assert reasons(result)["sea/twice.png"] == "The same image stands under ice, sea."
    assert reasons(result)["ice/half.jpg"] == "The service takes it for no image."
    assert "25 to 1" in reasons(result)["ice/strip.png"]
    assert max(map(len, held(cloud))) <= 6_000_000
    assert good in held(cloud)
    again = send(cloud, source, tmp_path / "data")
    assert (again.sent, again.present) == (0, 3), "what was encoded anew is known again too"
    assert set(reasons(again)) == set(reasons(result))


def test_an_upload_that_is_killed_goes_on_without_doubles(cloud: Cloud, tmp_path: Path) -> None:
    files = labelled({"dark": 150, "bright": 150}, width=12, height=12)
    source = write_folder(tmp_path / "photos", files)
    cloud.script.answered_uploads = 1  # the others arrive, and the uploader never hears of it
    env = {name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_")}
    env |= {"PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT": cloud.url, "PARALLAX_CUSTOM_VISION_TRAINING_KEY": TRAINING_KEY}
    env["PARALLAX_DATA_DIR"] = str(tmp_path / "data")
    command = [sys.executable, "-m", "parallax", "customvision", "upload", "scenes", "--data", str(source), "--workers", "2"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        eventually(
            lambda: process.poll() is not None or cloud.script.count("/images/files") == 3, "two batches wait for an answer"
        )
        eventually(lambda: process.poll() is not None or len(cloud.script.received) == 3 * 64, "they have arrived")
        assert process.poll() is None, process.communicate()[0]
        process.send_signal(signal.SIGKILL)
    (journal,) = (tmp_path / "data" / "customvision").glob("*/upload.jsonl")
    assert len(journal.read_text().splitlines()) == 64
    cloud.script.answered_uploads = None

    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "108 images sent, of which it had 0; 192 were there" in done.stderr
    assert held(cloud) == sorted(files.values())
    assert set(cloud.script.received.values()) == {1}, "no image was sent twice"
    assert TRAINING_KEY not in done.stderr + done.stdout
    assert all(TRAINING_KEY not in file.read_text() for file in (tmp_path / "data").rglob("*.jsonl"))


def test_a_journal_whose_last_line_was_cut_short_still_counts(cloud: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 3, "bright": 3}, width=16, height=16))
    send(cloud, source, tmp_path / "data")
    (journal,) = (tmp_path / "data").glob("*/upload.jsonl")
    text = journal.read_bytes()
    journal.write_bytes(text[:-20])
    assert send(cloud, source, tmp_path / "data").present == 6
    assert len(journal.read_bytes().splitlines()) == 7
    assert json.loads(journal.read_bytes().splitlines()[-1])["status"] == "Found"
    assert set(cloud.script.received.values()) == {1}


@pytest.mark.parametrize(("labels", "many", "what"), [(2, 5001, "5,001 images"), (51, 51, "51 tags")])
def test_a_free_tier_that_cannot_hold_it_is_told_before_anything_is_made(
    cloud: Cloud, tmp_path: Path, labels: int, many: int, what: str
) -> None:
    found = survey([])
    found.labels = {f"{number:064x}": f"class {number % labels}" for number in range(many)}
    with pytest.raises(UsageError, match=f"scenes would have {what}, and a project of tier F0 holds .*; nothing was sent"):
        upload(cloud.training(), "scenes", [], found, tmp_path, tier="F0")
    assert cloud.script.requests == []


def test_what_is_there_counts_too(cloud: Cloud, tmp_path: Path) -> None:
    cloud.filled({f"class {number}/1.png": plain(number) for number in range(49)})
    source = write_folder(tmp_path / "photos", {"one/1.png": plain(200), "two/1.png": plain(201)})
    with pytest.raises(UsageError, match="51 tags"):
        send(cloud, source, tmp_path / "data", tier="F0")
    assert cloud.script.received == {}


def test_a_project_that_is_full_ends_it(cloud: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 3, "bright": 3}, width=16, height=16))
    cloud.script.status_of = lambda _data: "ErrorLimitExceed"
    with pytest.raises(UsageError, match="scenes takes no more images"):
        send(cloud, source, tmp_path / "data")


def test_a_passing_fault_of_an_image_is_tried_once_more(cloud: Cloud, tmp_path: Path) -> None:
    files = labelled({"dark": 3, "bright": 3}, width=16, height=16)
    source = write_folder(tmp_path / "photos", files)
    hurt = files["dark/1.png"]
    statuses = ["ErrorStorage"]
    cloud.script.status_of = lambda data: statuses.pop() if data == hurt and statuses else None
    assert send(cloud, source, tmp_path / "data").problems == []
    cloud.account.projects.clear()
    cloud.script.status_of = lambda data: "ErrorStorage" if data == hurt else None
    result = send(cloud, source, tmp_path / "data")
    assert (result.sent, reasons(result)) == (5, {"dark/1.png": "The service answered ErrorStorage."})


def test_a_batch_that_is_refused_as_a_whole_is_halved(cloud: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 4, "bright": 4}, width=16, height=16))
    body = b'{"code": "BadRequestImageBatch", "message": "no"}'
    cloud.script.faults = [Fault("/images/files", 400, body, times=2), Fault("/images/files", 413, b"<html>too large</html>")]
    assert send(cloud, source, tmp_path / "data", workers=1).sent == 8
    assert set(cloud.script.received.values()) == {1}


def test_a_key_that_is_refused_ends_it(cloud: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 4, "bright": 4}, width=16, height=16))
    sources = [str(source)]
    with pytest.raises(ServiceError, match=r"401.*Is PARALLAX_CUSTOM_VISION_TRAINING_KEY the key of this endpoint") as caught:
        upload(cloud.training("another-key"), "scenes", sources, survey(sources), tmp_path / "data")
    assert "another-key" not in str(caught.value)
    assert len(cloud.script.requests) == 1


def test_a_batch_is_bounded_by_its_bytes_and_its_tags(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_folder(tmp_path / "photos", {f"class {number:02}/1.png": plain(number, "BMP") for number in range(30)})
    send(cloud, source, tmp_path / "data")
    assert cloud.script.count("/images/files") == 2, "20 tags and 10"
    cloud.account.projects.clear()
    monkeypatch.setattr(module, "MAX_BATCH_BYTES", 4 * len(plain(0, "BMP")))
    send(cloud, source, tmp_path / "data")
    assert cloud.script.count("/images/files") == 2 + 8


def test_the_same_image_under_another_tag_there_is_reported(cloud: Cloud, tmp_path: Path) -> None:
    cloud.filled({"sea/1.png": plain(10)})
    source = write_folder(tmp_path / "photos", {"ice/1.png": plain(10), "ice/2.png": plain(20)})
    result = send(cloud, source, tmp_path / "data")
    assert result.sent == 1
    assert list(reasons(result).values()) == ["It is there already, under sea."]


def test_an_unknown_domain_and_a_project_of_another_kind_are_refused(cloud: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 1, "bright": 1}))
    with pytest.raises(UsageError, match=r"no domain 'Cars'; those for classification are General, General \[A1\]"):
        send(cloud, source, tmp_path / "data", domain="Cars")
    project = cloud.filled({})
    with pytest.raises(UsageError, match=r"of another domain than General \[A2\]"):
        send(cloud, source, tmp_path / "data", domain="general [a2]")
    project.classification_type = "Multilabel"
    with pytest.raises(UsageError, match="is Multilabel; class folders belong into a Multiclass project"):
        send(cloud, source, tmp_path / "data")

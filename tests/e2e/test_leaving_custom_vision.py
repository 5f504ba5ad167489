"""Class folders -> a project -> trained -> published -> scored -> exported -> imported -> served: one answer all the way."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import parallax
from tests.support.custom_vision.accounts import both
from tests.support.custom_vision.script import Script
from tests.support.custom_vision.server import serving as standing_in
from tests.support.custom_vision.state import PREDICTION_KEY, TRAINING_KEY, Account
from tests.support.images import labelled, write_folder, write_zip
from tests.support.server import serving

RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/prediction"
LABELS = ("dark", "grey", "bright")


@dataclass
class Cloud:
    account: Account
    script: Script
    folder: Path
    said: str = ""

    def parallax(self, *words: str) -> str:
        """Standard output of a command that must succeed."""
        done = CliRunner().invoke(parallax.app, ["customvision", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        for key in (TRAINING_KEY, PREDICTION_KEY):
            assert key not in done.output
        self.said = done.stderr
        return done.stdout.strip()


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    account, script = Account(), Script(looks=1)
    with standing_in(both(account, script)) as url:
        for name, value in {
            "PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT": url,
            "PARALLAX_CUSTOM_VISION_TRAINING_KEY": TRAINING_KEY,
            "PARALLAX_CUSTOM_VISION__ENDPOINT": url,
            "PARALLAX_CUSTOM_VISION__KEY": PREDICTION_KEY,
            "PARALLAX_CUSTOM_VISION_PREDICTION_RESOURCE": RESOURCE,
            "PARALLAX_DATA_DIR": str(tmp_path / "data"),
            "PARALLAX_MODELS_DIR": str(tmp_path / "store"),
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        yield Cloud(account, script, tmp_path)


def test_into_custom_vision_and_out_of_it(cloud: Cloud) -> None:
    photos = labelled(dict.fromkeys(LABELS, 30), "JPEG", width=80, height=60)
    write_folder(cloud.folder / "photos", photos)
    tests = labelled(dict.fromkeys(LABELS, 8), "JPEG", width=90, height=90)
    write_zip(cloud.folder / "test.zip", tests)

    project = cloud.parallax("upload", "scenes", "--data", "photos")
    assert "90 images sent" in cloud.said
    assert len(cloud.account.projects[project].images) == len(photos)
    iteration = cloud.parallax("train", "scenes", "--budget-hours", "2")
    assert "average precision" in cloud.said
    (made,) = cloud.account.projects[project].iterations
    assert (made.id, made.budget_hours) == (iteration, 2)
    cloud.parallax("publish", project, "--name", "production")
    assert made.publish_name == "production"

    words = ("score", "--project", project, "--name", "production", "--test", "test.zip", "--usd-per-1000", "2")
    summary = json.loads(Path(cloud.parallax(*words)).read_text())
    assert (summary["accuracy"]["correct"], summary["images"], summary["usd"]) == (24, 24, 0.048)
    assert "24 of 24 images" in cloud.said
    assert "0.05 USD at 2.00 for 1,000" in cloud.said
    (answers,) = cloud.folder.glob("data/customvision/*/production-*.jsonl")
    _, *rows = map(json.loads, answers.read_text().splitlines())

    assert cloud.parallax("export", "scenes", "--flavor", "OnnxFloat16", "--out", "scenes.zip") == "scenes.zip"
    version = cloud.parallax("import", "scenes.zip", "--name", "scenes")
    assert Path(version) == cloud.folder / "store" / "scenes" / "1"
    assert cloud.script.keys_at_storage == 0
    with serving(cloud.folder, models_dir=cloud.folder / "store") as server, server.client() as client:
        for row in rows:
            reply = client.post("/v1/classify", params={"top": 3}, content=tests[row["path"]]).raise_for_status().json()
            assert reply["predictions"][0]["label"] == row["predicted"]
            got = {one["label"]: one["probability"] for one in reply["predictions"]}
            assert got == pytest.approx(row["probabilities"], abs=0.02)

    pulled = Path(cloud.parallax("pull-images", "scenes", "--out", "home"))
    files = sorted((cloud.folder / pulled).glob("*/*.jpg"))
    assert {file.parent.name for file in files} == set(LABELS)
    assert sorted(file.read_bytes() for file in files) == sorted(photos.values())

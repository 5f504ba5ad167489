"""What a person or a script sees of the commands."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import parallax
from models.errors import UsageError
from tests.support.custom_vision.state import TRAINING_KEY
from tests.support.images import labelled, write_folder
from tests.unit.training.customvision.conftest import Cloud


def run(*words: str, **options: Any) -> Result:  # noqa: ANN401
    return CliRunner().invoke(parallax.app, ["customvision", *words], catch_exceptions=False, **options)


@pytest.fixture
def resource(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    monkeypatch.setenv("PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT", cloud.url)
    monkeypatch.setenv("PARALLAX_CUSTOM_VISION_TRAINING_KEY", TRAINING_KEY)
    return cloud


def test_problems_are_listed_kept_and_told_by_the_exit_status(resource: Cloud, tmp_path: Path) -> None:
    files = labelled({"dark": 3, "bright": 3}, width=16, height=16) | {"dark/text.png": b"nothing"}
    source = write_folder(tmp_path / "photos", files)
    done = run("upload", "scenes", "--data", str(source))
    assert done.exit_code == 1
    (project,) = resource.account.projects
    assert done.stdout.strip() == project
    assert "new project scenes" in done.stderr
    assert "6 images sent, of which it had 0; 0 were there; 0 copies left out; 1 failed" in done.stderr
    assert "dark/text.png: These bytes are not an image" in done.stderr
    (file,) = tmp_path.glob("data/customvision/*/upload-problems.txt")
    assert file.read_text().startswith("dark/text.png: ")
    (source / "dark" / "text.png").unlink()
    assert run("upload", "scenes", "--data", str(source)).exit_code == 0
    assert not file.exists()


def test_what_is_missing_is_said_before_anything_is_read(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 1, "bright": 1}))
    with pytest.raises(UsageError, match="PARALLAX_CUSTOM_VISION_TRAINING_ENDPOINT"):
        run("upload", "scenes", "--data", str(source))
    with pytest.raises(UsageError, match="PARALLAX_CUSTOM_VISION__ENDPOINT"):
        run("score", "--test", str(source))


def test_tiers_are_known_by_name(resource: Cloud, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 1, "bright": 1}))
    with pytest.raises(UsageError, match="--tier P9: tiers are F0, S0"):
        run("upload", "scenes", "--data", str(source), "--tier", "P9")
    assert run("upload", "scenes", "--data", str(source), "--tier", "f0").exit_code == 0


@pytest.mark.parametrize("command", ["upload", "train", "publish", "score", "export", "import", "pull-images"])
def test_every_command_explains_itself_and_no_option_takes_a_key(command: str) -> None:
    done = run(command, "--help", env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert done.exit_code == 0
    assert "--key " not in done.stdout
    assert ("--key-file" in done.stdout) == (command != "import")


def test_the_command_line_does_not_load_the_sdk() -> None:
    import subprocess
    import sys

    code = "import sys, parallax; print(sorted({'msrest', 'azure', 'onnx', 'requests'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

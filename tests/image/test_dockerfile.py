"""The Dockerfile, read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models import __version__
from models.workspace import CHECKOUT

TEXT = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
STAGES = re.findall(r"^FROM (\S+) AS (\S+)$", TEXT, re.MULTILINE)


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, "Dockerfile"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_has_the_stages_that_are_promised_and_one_base() -> None:
    names = [name for _, name in STAGES]
    assert {"base", "serve-cpu", "serve-gpu", "train", "loadtest"} <= set(names)
    outside = [source for source, _ in STAGES if source not in names]
    assert outside == ["${PYTHON_IMAGE}"]


@pytest.mark.parametrize("file", sorted(set(re.findall(r"^COPY (?!--from)(\S+)", TEXT, re.MULTILINE)) - {"."}))
def test_what_it_copies_is_there_and_not_ignored(file: str) -> None:
    assert (CHECKOUT / file).is_file()
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert any(Path(file).match(line[1:]) for line in ignored if line.startswith("!"))


def test_every_image_runs_without_root_and_in_exec_form() -> None:
    for part in re.split(r"^FROM ", TEXT, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        if any(line.startswith("ENTRYPOINT") for line in lines):
            assert "USER 10001:10001" in lines, lines[0]
    assert re.findall(r"^(?:ENTRYPOINT|CMD) [^\[]", TEXT, re.MULTILINE) == []


def test_its_version_is_that_of_the_code() -> None:
    assert f"ARG VERSION={__version__}\n" in TEXT
    assert f"parallax:{__version__} ." in TEXT

"""What the README shows is what happens."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from models.workspace import CHECKOUT
from tests.support.server import serving

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
REQUESTS = re.findall(r"^\$ (curl .*@docs/samples/.*)\n(\{.*\})$", README, re.MULTILINE)


def test_the_readme_shows_requests() -> None:
    assert len(REQUESTS) >= 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(("command", "shown"), REQUESTS, ids=[command for command, _ in REQUESTS])
def test_its_requests_get_the_replies_that_it_shows(command: str, shown: str, tmp_path: Path) -> None:
    with serving(tmp_path, models_dir=CHECKOUT / "models" / "store") as server:
        words = shlex.split(command.replace("localhost:8000", server.url.removeprefix("http://")))
        done = subprocess.run([*words, "--silent", "--noproxy", "*"], cwd=CHECKOUT, capture_output=True, check=True)
    assert _without_what_varies(json.loads(done.stdout)) == _without_what_varies(json.loads(shown))


def _without_what_varies(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_what_varies(item) for key, item in value.items() if key not in ("timing_ms", "request_id")}
    if isinstance(value, list):
        return [_without_what_varies(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value

"""What `helm test` runs, run here against a server."""

import subprocess
import sys
from pathlib import Path

from models.workspace import CHECKOUT
from tests.helm.cases import CASES
from tests.support.charts import CHART, render
from tests.support.server import serving

KEY = "a-key-of-the-test"
SCRIPT = (CHART / "files" / "classify.py").read_text(encoding="utf-8")


def test_the_hook_runs_the_script_with_what_it_needs() -> None:
    pod = render(CASES["defaults"][1]).one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    assert container["command"][:2] == ["python", "-c"]
    assert container["command"][2].strip() == SCRIPT.strip()
    given = {one["name"]: one["value"] for one in container["env"]}
    assert given == {"URL": "http://demo-parallax:80", "KEYS": "/etc/parallax/api-keys"}
    anonymous = render(CASES["anonymous"][1]).one("Pod")
    assert [one["name"] for one in anonymous["spec"]["containers"][0]["env"]] == ["URL"]


def test_the_script_classifies_with_a_key_and_fails_without(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"default:{KEY}\nother:another-key-of-it\n")
    picture = CHECKOUT / "docs" / "samples" / "sea.jpg"
    with serving(tmp_path / "server", fake__labels=["a", "b"], api_keys=f"default:{KEY}") as server:
        env = {"URL": server.url, "PICTURE": str(picture)}
        allowed = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=env | {"KEYS": str(keys)}, capture_output=True, text=True, check=False
        )
        refused = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False)
    assert allowed.returncode == 0, allowed.stderr
    assert '"predictions"' in allowed.stdout
    assert refused.returncode == 1
    assert refused.stdout.startswith("401 ")

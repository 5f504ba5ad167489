"""The scripts under `make`, as far as they go without a network."""

import shutil
import subprocess
from pathlib import Path

import pytest

from models.workspace import CHECKOUT

PYTHON = """#!/bin/sh
# Stands for a Python with pip. While it installs, somebody else may have come to the same end.
case "$*" in
    *--version*) exit ;;
    -c*) echo "$0"; exit ;;
esac
put() { mkdir -p "$1/bin" && printf '#!/bin/sh\\necho "%s $*"\\n' "$2" >"$1/bin/uv" && chmod +x "$1/bin/uv"; }
while [ "$1" != --target ]; do shift; done
put "$2" ours
if [ "$FASTER" ]; then rm -rf .tools/uv; put .tools/uv theirs; elif .tools/uv/bin/uv 2>/dev/null; then echo "half-made" >&2; fi
"""


@pytest.mark.parametrize("faster", ["", "yes"])
@pytest.mark.parametrize("broken", [False, True])
def test_uv_is_fetched_aside_and_put_into_its_place_if_nobody_else_has(tmp_path: Path, faster: str, broken: bool) -> None:
    for folder in ("scripts", "requirements", "bin"):
        (tmp_path / folder).mkdir()
    for name in ("chmod", "dirname", "mkdir", "mktemp", "mv", "rm", "sh"):  # and no uv
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or pytest.fail(f"no {name}"))
    for name in ("uv.sh", "python.sh"):
        shutil.copy(CHECKOUT / "scripts" / name, tmp_path / "scripts")
    own = tmp_path / ".tools" / "uv" / "bin" / "uv"
    if broken:
        own.parent.mkdir(parents=True)
        own.write_text("#!/no/such/interpreter\n", encoding="utf-8")
        own.chmod(0o755)
    python = tmp_path / "python"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    env = {"PATH": str(tmp_path / "bin"), "PYTHON": str(python), "FASTER": faster}
    done = subprocess.run(["scripts/uv.sh", "pip", "sync"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (f"{'theirs' if faster else 'ours'} pip sync\n", 0), done.stderr
    assert done.stderr == "Fetching uv into .tools\n", "nobody sees it half-made"
    assert [path.name for path in (tmp_path / ".tools").iterdir()] == ["uv"]

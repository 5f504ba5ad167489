"""checkov finds nothing in chart, objects, Dockerfile and Terraform that is not skipped with a reason."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.workspace import CHECKOUT
from tests.helm.cases import CASES
from tests.support.charts import CHART, helm, render

FRAMEWORKS = ("dockerfile", "helm", "kubernetes", "terraform")
RENDERED = ("aks cpu", "aks gpu", "ingress", "keda", "loadtest", "monitoring", "sweep")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What it reports, by framework."""
    programs = sorted(CHECKOUT.glob(".tools/checkov-*/bin/checkov"))
    if not programs:
        pytest.skip("checkov is not here: scripts/checkov.sh fetches it")
    folder = tmp_path_factory.mktemp("policy")
    shutil.copy(CHECKOUT / "Dockerfile", folder)
    shutil.copytree(CHART, folder / "chart")
    shutil.copytree(CHECKOUT / "infra" / "terraform", folder / "terraform")
    for name in RENDERED:
        files, values = CASES[name]
        (folder / f"{name.replace(' ', '-')}.yaml").write_text(yaml.safe_dump_all(render(values, *files)))
    programs_folder = tmp_path_factory.mktemp("programs")
    (programs_folder / "helm").symlink_to(helm("4") or "")  # it runs whichever is first on the PATH
    words = [
        str(programs[-1]),
        "--config-file",
        str(CHECKOUT / ".checkov.yaml"),
        "--skip-download",
        "--quiet",
        "--output",
        "json",
    ]
    words += ["--framework", *FRAMEWORKS, "--directory", str(folder)]
    env = os.environ | {"PATH": f"{programs_folder}:{os.environ['PATH']}"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.stdout.strip(), done.stderr
    answer = json.loads(done.stdout)
    reports = answer if isinstance(answer, list) else [answer]
    return {report["check_type"]: report for report in reports}


def test_every_framework_was_looked_at(found: dict[str, Any]) -> None:
    assert set(found) == set(FRAMEWORKS)
    for framework, report in found.items():
        assert report["summary"]["passed"] > 10, framework
        assert report["summary"]["parsing_errors"] == 0, framework


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_is_left(framework: str, found: dict[str, Any]) -> None:
    failed = found[framework]["results"]["failed_checks"]
    assert [(one["check_id"], one["check_name"], one["resource"]) for one in failed] == []


def test_every_skip_has_a_reason() -> None:
    texts = [(CHECKOUT / "Dockerfile"), *(CHECKOUT / "infra" / "terraform").glob("*.tf")]
    for path in texts:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "checkov:skip=" in line:
                assert len(line.partition("checkov:skip=")[2].partition(":")[2]) > 10, f"{path.name}: {line}"
    for line in Path(CHECKOUT / ".checkov.yaml").read_text(encoding="utf-8").splitlines():
        assert "- CKV" not in line or " # " in line

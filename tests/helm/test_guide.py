"""The commands of the guide, as far as they can be tried without Azure."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from models import __version__
from models.workspace import CHECKOUT
from tests.helm.cases import VAULT
from tests.support.charts import MAJORS, helm, parse

GUIDE = (CHECKOUT / "docs" / "guides" / "from-zero-to-aks.md").read_text(encoding="utf-8")
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", GUIDE, re.MULTILINE)
RELEASES = [line for line in COMMANDS if re.match(r"helm (install|upgrade) parallax helm/parallax ", line)]


@pytest.fixture(scope="module")
def from_terraform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("azure") / "values-azure.yaml"
    path.write_text(yaml.safe_dump({"image": {"repository": "x.azurecr.io/parallax"}, **VAULT}))
    return path


def test_there_are_releases_to_try() -> None:
    assert len(RELEASES) == 3


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("line", RELEASES)
def test_a_release_of_the_guide_renders(line: str, major: str, from_terraform: Path) -> None:
    _, _, name, *rest = shlex.split(line)
    reused = "--reuse-values" in rest
    words = [word.replace("values-azure.yaml", str(from_terraform)) for word in rest if word != "--reuse-values"]
    if reused:  # those of the release before
        before = shlex.split(RELEASES[-2].replace("values-azure.yaml", str(from_terraform)))
        words += before[before.index("-f") :]
    done = subprocess.run(
        [helm(major) or "", "template", name, *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rendered = parse(done.stdout)
    assert rendered.one("Deployment")["metadata"]["name"] == "parallax", "as the guide calls it"
    assert rendered.one("Deployment")["metadata"]["namespace"] == "parallax"
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "parallax", "as Terraform binds the identity"
    pushed = set(re.findall(r"-t \$REGISTRY/(parallax:\S+)", GUIDE))
    images = {container["image"].removeprefix("x.azurecr.io/") for _, pod in rendered.pods() for container in pod["containers"]}
    assert images <= pushed


def test_outputs_stages_and_versions_are_there() -> None:
    outputs = set(re.findall(r'^output "(\w+)"', (CHECKOUT / "infra" / "terraform" / "outputs.tf").read_text(), re.MULTILINE))
    assert set(re.findall(r"terraform output (?:-raw )?(\w+)", GUIDE)) <= outputs
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE))
    for text in (GUIDE, README):
        assert set(re.findall(r"docker build --target (\S+)", text)) <= stages
        assert set(re.findall(r"parallax:(\d+\.\d+\.\d+)", text)) == {__version__}
    chart = yaml.safe_load((CHECKOUT / "helm" / "parallax" / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__


def test_variables_that_it_sets_are_all_that_have_no_default() -> None:
    text = (CHECKOUT / "infra" / "terraform" / "variables.tf").read_text(encoding="utf-8")
    blocks = re.split(r'^variable "', text, flags=re.MULTILINE)[1:]
    wanted = {block.partition('"')[0] for block in blocks if "default " not in block}
    assert set(re.findall(r"^(\w+) += ", GUIDE, re.MULTILINE)) == wanted


@pytest.mark.parametrize("major", MAJORS)
def test_the_chart_can_be_packaged(major: str, tmp_path: Path) -> None:
    words = [helm(major) or "", "package", str(CHECKOUT / "helm" / "parallax"), "--destination", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [f"parallax-{__version__}.tgz"]

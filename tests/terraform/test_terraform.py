"""The infrastructure's description, as far as it can be read without a cloud: syntax, format, references, no secret in it."""

import re
import shutil
import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from models.workspace import CHECKOUT
from scripts.chart_schema import schema_of

FOLDER = CHECKOUT / "infra" / "terraform"
FILES = sorted(FOLDER.glob("*.tf"))
CHART = CHECKOUT / "helm" / "parallax"


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def whole() -> dict[str, list[Any]]:
    """All blocks of all files, by kind."""
    found: dict[str, list[Any]] = {}
    for path in FILES:
        for kind, blocks in hcl2.loads(text(path)).items():
            found.setdefault(kind, []).extend(blocks)
    return found


def bare(name: str) -> str:
    return name.strip('"')


def named(kind: str) -> set[str]:
    """Addresses of resources, data or ephemeral ones, as type.name."""
    return {f"{bare(of)}.{bare(name)}" for block in whole().get(kind, []) for of, inner in block.items() for name in inner}


def code() -> str:
    return "\n".join(re.sub(r"#.*", "", text(path)) for path in FILES)


def test_there_is_what_was_promised() -> None:
    kinds = {name.partition(".")[0] for name in named("resource")}
    assert {
        "azurerm_application_insights",
        "azurerm_cognitive_account",
        "azurerm_container_registry",
        "azurerm_federated_identity_credential",
        "azurerm_key_vault",
        "azurerm_kubernetes_cluster",
        "azurerm_kubernetes_cluster_node_pool",
        "azurerm_machine_learning_compute_cluster",
        "azurerm_machine_learning_workspace",
        "azurerm_postgresql_flexible_server",
        "azurerm_resource_group",
        "azurerm_storage_account",
        "azurerm_storage_container",
    } <= kinds


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed: its own formatter is not asked")
def test_terraform_would_format_it_so() -> None:
    done = subprocess.run(["terraform", "fmt", "-check", "-diff", str(FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_laid_out_as_terraform_fmt_does(path: Path) -> None:
    """What of `terraform fmt` can be told without it: indents by twos, and = of neighbouring lines below each other."""
    lines = text(path).splitlines()
    depth = 0
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        closing = len(re.match(r"[\])}]*", stripped)[0])  # type: ignore[index]  # it matches the empty string too
        if stripped:
            assert line == line.rstrip(), f"{path.name}:{number} ends in blanks"
            assert len(line) - len(line.lstrip()) == 2 * (depth - bool(closing)), f"{path.name}:{number} is indented otherwise"
        bracketed = re.sub(r'"(\\.|[^"\\])*"|#.*', "", line)
        opened = sum(bracketed.count(sign) for sign in "({[") - sum(bracketed.count(sign) for sign in ")}]")
        depth += max(-1, min(1, opened))
    assert depth == 0
    assert text(path).endswith("\n")
    for first, second in pairwise(lines):
        found = [re.match(r"( *)[\w.]+ *= ", line) for line in (first, second)]
        if found[0] and found[1] and found[0][1] == found[1][1] and not f"{first} {second}".endswith(("{", "[", "(")):
            assert first[-1] in "{[(" or first.index(" = ") == second.index(" = "), (
                f"{path.name}: {first.strip()} / {second.strip()}"
            )


def test_every_reference_leads_somewhere() -> None:
    known = named("resource")
    used = set(re.findall(r"(?<![\w.])((?:azurerm|random)_\w+\.\w+)", code()))
    assert used - known - {name for name in used if f"data.{name}" in code() or f"ephemeral.{name}" in code()} == set()
    variables = {bare(name) for block in whole()["variable"] for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", code())) == variables, "each is declared, and each is used"
    ephemeral = named("ephemeral")
    assert {f"{kind}.{name}" for kind, name in re.findall(r"\bephemeral\.(\w+)\.(\w+)", code())} == ephemeral
    local = {bare(name) for block in whole()["locals"] for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", code())) <= local


def test_variables_and_outputs_are_explained() -> None:
    for kind in ("variable", "output"):
        for block in whole()[kind]:
            for name, inner in block.items():
                assert inner.get("description"), name


def test_no_secret_is_in_the_code_or_in_the_state() -> None:
    for line in code().splitlines():
        assert (
            not re.search(r'(password|secret|_key|token)\w*\s*=\s*"(?!\$\{)[^"]+"', line, re.IGNORECASE) or "key_vault" in line
        ), line
    assert 'resource "random_password"' not in code(), "its result would be kept in the state"
    for name in ("administrator_password", "value"):
        assert not re.search(rf"^\s*{name}\s*=.*random_password", code(), re.MULTILINE)
    assert code().count("ephemeral.random_password.database.result") == 2, "the database and its address have the same one"


def test_gpus_are_spot_and_of_no_retired_kind() -> None:
    sizes = re.findall(r"Standard_N\w+", code())
    assert sizes
    assert not [size for size in sizes if re.fullmatch(r"Standard_N(C\d+r?s?|D\w*|C\d+r?s_v[23])", size)], (
        "K80, P100, P40 and V100 are gone"
    )
    assert re.search(r'priority\s*=\s*"Spot"', code())
    assert re.search(r'vm_priority\s*=\s*"LowPriority"', code())


def test_the_pool_s_taints_are_those_that_the_chart_bears() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    taints = re.findall(r'"(\S+?)=(\S+?):(\w+)"', code())
    borne = [(one["key"], one["value"], one["effect"]) for one in values["gpu"]["tolerations"]]
    borne.append(("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule"))
    assert sorted(taints) == sorted(borne)


def test_the_output_for_helm_is_values_of_the_chart() -> None:
    schema = schema_of(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))
    outputs = {bare(name): inner for block in whole()["output"] for name, inner in block.items()}
    body = text(FOLDER / "outputs.tf").partition("yamlencode({")[2].partition("})")[0]
    assert "helm_values" in outputs
    paths = set()
    for line in body.splitlines():
        names = re.findall(r"(\w+)\s*=", line)
        if names:
            paths.add(tuple(names))
    for path in paths:
        level: Any = schema
        for name in path:
            level = level.get("properties", level)
            if name in {"name", "tenantId"} and name not in level:
                level = schema["properties"]["keyVault"]["properties"]
            assert name in level, path
            level = level[name]


def test_secrets_in_the_vault_are_those_that_the_chart_asks_for() -> None:
    values = yaml.safe_load((CHART / "values-aks-cpu.yaml").read_text(encoding="utf-8"))
    made = set(re.findall(r'"(parallax-[a-z-]+)"', text(FOLDER / "secrets.tf")))
    assert set(values["keyVault"]["secrets"].values()) == made


def test_the_identity_is_bound_to_the_release_s_service_account() -> None:
    assert '"system:serviceaccount:${var.namespace}:${var.release}"' in code()


def test_the_compute_is_named_as_the_jobs_name_it() -> None:
    job = (CHECKOUT / "training" / "azureml" / "automl" / "large.yml").read_text(encoding="utf-8")
    guide = (CHECKOUT / "docs" / "guides" / "azure-ml.md").read_text(encoding="utf-8")
    (name,) = re.findall(r'name\s*=\s*"([\w-]+-cluster)"', code())
    assert name in job + guide

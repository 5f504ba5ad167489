"""Every YAML file of training/azureml/ holds up, and each way in which one could fail to is seen."""

import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import parallax
from models.errors import UsageError
from training.azureml import submit as module
from training.azureml.references import OPTIONAL, kind_of, problems, read
from training.azureml.submit import HERE, load
from training.backbone_names import AZURE

ROOT = HERE.parent.parent
FILES = sorted(HERE.rglob("*.yml"))
KINDS = {
    "automl/large.yml": "autoMLJob",
    "automl/small.yml": "autoMLJob",
    "components/evaluate.yml": "commandComponent",
    "components/prepare.yml": "commandComponent",
    "components/train_cnn.yml": "commandComponent",
    "components/train_transfer.yml": "commandComponent",
    "endpoints/environment.yml": "environment",
    "endpoints/kubernetes/deployment.yml": "kubernetesOnlineDeployment",
    "endpoints/kubernetes/endpoint.yml": "kubernetesOnlineEndpoint",
    "endpoints/managed/deployment.yml": "managedOnlineDeployment",
    "endpoints/managed/endpoint.yml": "managedOnlineEndpoint",
    "environment/environment.yml": "environment",
    "pipelines/cnn.yml": "pipelineJob",
    "pipelines/transfer.yml": "pipelineJob",
}
ENTITIES = {
    "autoMLJob": "ImageClassificationJob",
    "commandComponent": "CommandComponent",
    "environment": "Environment",
    "kubernetesOnlineDeployment": "KubernetesOnlineDeployment",
    "kubernetesOnlineEndpoint": "KubernetesOnlineEndpoint",
    "managedOnlineDeployment": "ManagedOnlineDeployment",
    "managedOnlineEndpoint": "ManagedOnlineEndpoint",
    "pipelineJob": "PipelineJob",
}


def name_of(file: Path) -> str:
    return file.relative_to(HERE).as_posix()


def test_these_are_all_there_are() -> None:
    assert {name_of(file): kind_of(read(file)) for file in FILES} == KINDS


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_loads_as_what_it_says(file: Path) -> None:
    entity, _ = load(file, {})
    assert type(entity).__name__ == ENTITIES[kind_of(read(file))]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The whole folder again, to be broken."""
    root = tmp_path / "repository" / "training" / "azureml"
    shutil.copytree(HERE, root, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return root


BROKEN = [
    ("components/train_cnn.yml", "${{inputs.seed}}", "${{inputs.sead}}", "nothing defines ${{inputs.sead}}"),
    ("components/train_cnn.yml", "${{inputs.seed}}", "1", "inputs.seed is not in the command"),
    ("components/train_cnn.yml", "${{outputs.store}}", "store", "outputs.store is not in the command"),
    ("components/train_cnn.yml", "$[[${{inputs.options}}]]", "${{inputs.options}}", "inputs.options is optional"),
    ("components/train_cnn.yml", "code: ../../..", "code: ../../src", "../../src is not there"),
    ("components/train_cnn.yml", "path: ../environment", "path: ../environments", "../environments is not there"),
    ("components/train_cnn.yml", "path: ../environment", "path: ../pipelines", "../pipelines/Dockerfile is not there"),
    ("environment/environment.yml", "path: .", "path: docker", "docker is not there"),
    ("pipelines/cnn.yml", "parent.inputs.network", "parent.inputs.nettwork", "nothing defines ${{parent.inputs.nettwork}}"),
    ("pipelines/cnn.yml", "parent.inputs.network", "parent.inputs.name", "input network is used by no job"),
    ("pipelines/cnn.yml", "${{parent.inputs.network}}", "residual", "input network is used by no job"),
    (
        "pipelines/cnn.yml",
        "parent.jobs.train.outputs.store",
        "parent.jobs.train.outputs.stor",
        "parent.jobs.train.outputs.stor}}",
    ),
    ("pipelines/cnn.yml", "parent.jobs.train.outputs", "parent.jobs.trian.outputs", "parent.jobs.trian.outputs.store}}"),
    ("pipelines/cnn.yml", "model: ${{parent.outputs.model}}", "model: ${{parent.outputs.modle}}", "parent.outputs.modle}}"),
    ("pipelines/cnn.yml", "      seed: ${{parent", "      sead: ${{parent", "train: the component has no input sead"),
    ("pipelines/cnn.yml", "      model: ${{parent", "      modle: ${{parent", "evaluate: the component has no output modle"),
    (
        "pipelines/cnn.yml",
        "      photos: ${{parent.inputs.photos}}\n",
        "      leave_out: a\n",
        "prepare: the component's input photos is not given",
    ),
    (
        "pipelines/cnn.yml",
        "../components/train_cnn.yml",
        "../components/train_ccn.yml",
        "../components/train_ccn.yml is not there",
    ),
    ("pipelines/cnn.yml", "azureml:parallax-photos@latest", "./photos", "./photos is not there"),
    ("components/evaluate.yml", "${{inputs.name}}", "${{inputs.nane}}", "nothing defines ${{inputs.nane}}"),
    ("automl/small.yml", "mobilenetv2, resnet50", "mobilenetv2, resnet51", "no network resnet51"),
    ("automl/large.yml", "vitl16r224", "vitl16r225", "no network vitl16r225"),
    ("automl/small.yml", "azureml:parallax-train@latest", "../data/train", "../data/train is not there"),
    ("automl/small.yml", "azureml:parallax-validation@latest", "../data/validation", "../data/validation is not there"),
    # What azure-ai-ml itself rejects.
    ("automl/small.yml", "primary_metric: accuracy", "primary_metric: beauty", "beauty"),
    ("automl/large.yml", "type: bandit", "type: bandits", "bandit"),
    ("endpoints/environment.yml", "    path: /livez\n", "", "liveness_route"),
    ("endpoints/managed/deployment.yml", "instance_type: Standard_F4s_v2\n", "", "instance_type"),
    ("pipelines/cnn.yml", "type: pipeline", "type: pipe", "pipe"),
]


@pytest.mark.parametrize(
    ("name", "right", "wrong", "what"), BROKEN, ids=[f"{name}: {wrong[:40]}" for name, _, wrong, _ in BROKEN]
)
def test_a_broken_file_is_refused_with_the_reason(copy: Path, name: str, right: str, wrong: str, what: str) -> None:
    file = copy / name
    text = file.read_text(encoding="utf-8")
    assert right in text
    file.write_text(text.replace(right, wrong), encoding="utf-8")
    with pytest.raises(UsageError, match=re.escape(what)):
        load(file, {})


def test_a_component_that_is_broken_breaks_the_pipelines_that_use_it(copy: Path) -> None:
    file = copy / "components" / "prepare.yml"
    file.write_text(file.read_text(encoding="utf-8").replace("--data ", "--data ${{inputs.more}} "), encoding="utf-8")
    for pipeline in ("cnn", "transfer"):
        path = copy / "pipelines" / f"{pipeline}.yml"
        assert problems(read(path), path.parent) == ["prepare: prepare.yml: nothing defines ${{inputs.more}}"]


@pytest.mark.parametrize("text", ["", "a: [", "- a", "\x00", "$schema: https://x/unknown.schema.json"])
def test_what_is_no_document_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.yml"):
        load(file, {})


def test_only_networks_that_azure_has_are_known_by_its_names() -> None:
    from azure.ai.ml.constants import ImageClassificationModelNames

    theirs = {one.value for one in ImageClassificationModelNames}
    assert set(AZURE) == theirs


def test_names_that_files_refer_to_are_those_that_others_make() -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    made = {read(file)["name"] for file in FILES if KINDS[name_of(file)] == "environment"}
    made |= {f"parallax-{split}" for split in ("train", "validation")}  # by `parallax azureml data`
    yours = {"parallax-photos", "cpu-cluster", "gpu-cluster", "kubernetes"}
    assert set(re.findall(r"azureml:([\w-]+)", text)) <= made | yours
    for kind in ("managed", "kubernetes"):
        endpoint, deployment = (read(HERE / "endpoints" / kind / f"{one}.yml") for one in ("endpoint", "deployment"))
        assert deployment["endpoint_name"] == endpoint["name"]


def test_the_endpoints_ask_routes_that_the_service_has() -> None:
    from service.app import create_app
    from service.settings import load_settings

    described = create_app(load_settings()).openapi()["paths"]
    config = read(HERE / "endpoints" / "environment.yml")["inference_config"]
    for kind, method in (("liveness_route", "get"), ("readiness_route", "get"), ("scoring_route", "post")):
        assert method in described[config[kind]["path"]]
        assert config[kind]["port"] == load_settings().port
    for kind in ("managed", "kubernetes"):
        deployment = read(HERE / "endpoints" / kind / "deployment.yml")
        chosen = {name.removeprefix("PARALLAX_").lower(): value for name, value in deployment["environment_variables"].items()}
        settings = load_settings(**chosen)
        assert (settings.host, settings.port, settings.allow_anonymous) == ("0.0.0.0", 8000, True)
        assert set(chosen) <= set(type(settings).model_fields)


def command_lines(component: dict[str, Any]) -> Iterator[list[str]]:
    """Every command line of ours that a component can come to: with its optional parts and without, for all values of an enum."""
    values = {
        name: [str(value) for value in spec.get("enum", [spec.get("default", {"integer": 1}.get(spec["type"], "x"))])]
        for name, spec in component["inputs"].items()
    }
    values["options"] = ["--epochs 3"] if "cnn" in component["name"] else ["--fine-tune"]
    for chosen, whole in product(product(*values.values()), (True, False)):
        text = OPTIONAL.sub(r"\1" if whole else "", component["command"])
        for name, value in zip(values, chosen, strict=True):
            text = text.replace(f"${{{{inputs.{name}}}}}", value)
        text = re.sub(r"\$\{\{outputs\.(\w+)\}\}", r"\1", text)
        for part in re.split(r"&&|;|\bthen\b", text):
            words = shlex.split(part, comments=False)
            if words[:3] == ["python", "-m", "parallax"]:
                yield words[3:]


def parse(words: list[str]) -> str:
    """Parse a command line as ours would be, and run nothing. Returns the command's name."""
    command: Any = typer.main.get_command(parallax.app)
    context = command.make_context("parallax", list(words))
    path = []
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        path.append(str(name))
        context = command.make_context(name, list(words), parent=context)
    return " ".join(path)


COMPONENTS = sorted((HERE / "components").glob("*.yml"))


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.stem)
def test_the_commands_of_components_are_commands_of_ours(file: Path, tmp_path: Path) -> None:
    found = {parse(words) for words in command_lines(read(file))}
    wanted = {
        "prepare": {"azureml data"},
        "train_cnn": {"train cnn"},
        "train_transfer": {"train transfer"},
        "evaluate": {"models verify", "models evaluate"},
    }
    assert found == wanted[file.stem]


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("prepare.yml", "--test", "--tests"),
        ("train_cnn.yml", "--seed", "--sead"),
        ("train_cnn.yml", "[cnn, residual]", "[cnn, residul]"),
        ("train_transfer.yml", "train transfer", "train transfere"),
        ("evaluate.yml", "models evaluate", "models judge"),
    ],
)
def test_a_command_that_ours_does_not_have_is_seen(file: str, right: str, wrong: str) -> None:
    text = (HERE / "components" / file).read_text(encoding="utf-8")
    broken = yaml.safe_load(text.replace(right, wrong))
    assert broken != yaml.safe_load(text)
    with pytest.raises(Exception, match=r"(?i)no such|invalid value|is not one of"):
        [parse(words) for words in command_lines(broken)]


def test_the_image_for_jobs_holds_the_lock_for_training() -> None:
    for name in ("train.txt", "azure.txt"):
        assert (HERE / "environment" / name).resolve() == ROOT / "requirements" / name
    assert "--require-hashes" in (HERE / "environment" / "Dockerfile").read_text(encoding="utf-8")


def test_jobs_get_the_code_and_neither_models_nor_environments() -> None:
    from azure.ai.ml._utils._asset_utils import get_ignore_file

    ignored = get_ignore_file(ROOT)
    for name in (".git/config", ".venv-dev/bin/python", "models/store/cnn/1/model.onnx", ".env", ".parallax/runs/x"):
        assert ignored.is_file_excluded(ROOT / name), name
    for name in ("parallax.py", "models/datasets.py", "training/weights/x.npz", "training/azureml/cli.py", "service/cli.py"):
        assert not ignored.is_file_excluded(ROOT / name), name


def test_every_kind_of_document_has_a_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(KINDS.values()) < set(module._WAYS)

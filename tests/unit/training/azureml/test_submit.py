"""What is sent to a workspace, and what is refused before anything is."""

import builtins
import json
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import parallax
from models.errors import UsageError
from tests.support.images import labelled, write_folder
from tests.unit.training.azureml.conftest import Client, value
from training.azureml.submit import HERE, changes, submit, submit_automl
from training.azureml.workspace import Workspace, connect, named


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(parallax.app, [*map(str, args)], catch_exceptions=False)


def test_a_pipeline_is_sent_and_followed(client: Client, connected: list[Workspace | None]) -> None:
    result = call(
        "azureml", "submit", HERE / "pipelines" / "cnn.yml", "--set", "inputs.seed=7", "settings.default_compute=azureml:big"
    )
    assert result.exit_code == 0, result.output
    (job,) = client.jobs.made
    assert type(job).__name__ == "PipelineJob"
    assert (value(job.inputs["seed"]), job.settings.default_compute) == (7, "big")
    assert str(value(job.jobs["train"].inputs["network"])) == "${{parent.inputs.network}}"
    assert client.jobs.streamed == ["brave_sun_1"]
    assert result.stdout.strip().endswith("brave_sun_1")
    assert "https://studio" in result.stderr
    assert connected == [None], "config.json"


def test_a_job_need_not_be_followed(client: Client, connected: list[Workspace | None]) -> None:
    call(
        "azureml",
        "submit",
        HERE / "automl" / "small.yml",
        "--no-stream",
        "--workspace",
        "w",
        "--resource-group",
        "g",
        "--subscription",
        "s",
    )
    assert len(client.jobs.made) == 1
    assert client.jobs.streamed == []
    assert connected == [Workspace("s", "g", "w")]


@pytest.mark.parametrize(
    ("file", "where", "said"),
    [
        ("components/prepare.yml", "components", "parallax_prepare:1"),
        ("environment/environment.yml", "environments", "parallax-train:1"),
        ("endpoints/environment.yml", "environments", "parallax-serve:1"),
        ("endpoints/managed/endpoint.yml", "online_endpoints", "parallax"),
        ("endpoints/managed/deployment.yml", "online_deployments", "blue"),
        ("endpoints/kubernetes/endpoint.yml", "online_endpoints", "parallax-kubernetes"),
        ("endpoints/kubernetes/deployment.yml", "online_deployments", "blue"),
    ],
)
def test_each_kind_goes_where_it_belongs(client: Client, file: str, where: str, said: str) -> None:
    assert submit(client, HERE / file, {}) == said
    assert client.made == {where: 1}


def test_a_data_asset_is_sent_if_its_files_are_there(client: Client, tmp_path: Path) -> None:
    text = (
        "$schema: https://azuremlschemas.azureedge.net/latest/data.schema.json\nname: photos\ntype: uri_folder\npath: ./photos\n"
    )
    (tmp_path / "photos.yml").write_text(text)
    with pytest.raises(UsageError, match=r"\./photos is not there"):
        submit(client, tmp_path / "photos.yml", {})
    write_folder(tmp_path / "photos", labelled({"dark": 1}))
    assert submit(client, tmp_path / "photos.yml", {}) == "photos:1"
    assert client.made == {"data": 1}


def test_our_image_is_named_when_it_is_registered(client: Client) -> None:
    submit(client, HERE / "endpoints" / "environment.yml", changes(["image=example.azurecr.io/parallax:1"]))
    (environment,) = client.environments.made
    assert environment.image == "example.azurecr.io/parallax:1"
    assert environment.inference_config.scoring_route.path == "/v1/classify"


def test_azures_own_automl_gets_the_tables(client: Client) -> None:
    submit_automl(client, "large", "azureml:a-train:1", "azureml:a-validation:2", {"limits.max_trials": 3})
    (job,) = client.jobs.made
    assert type(job).__name__ == "ImageClassificationJob"
    assert (job.training_data.path, job.validation_data.path) == ("a-train:1", "a-validation:2")
    assert job.limits.max_trials == 3
    assert type(job.sweep.early_termination).__name__ == "BanditPolicy"


def test_nothing_is_sent_of_a_file_that_does_not_hold_up(client: Client, connected: list[Workspace | None]) -> None:
    with pytest.raises(UsageError, match=r"nothing defines \$\{\{parent\.inputs\.x\}\}"):
        call("azureml", "submit", HERE / "pipelines" / "cnn.yml", "--set", "jobs.train.inputs.seed=${{parent.inputs.x}}")
    with pytest.raises(UsageError, match="no network resnet9"):
        call("azureml", "submit", HERE / "automl" / "small.yml", "--set", "training_parameters.model_name=resnet9")
    with pytest.raises(UsageError, match="limits"):
        call("azureml", "submit", HERE / "automl" / "small.yml", "--set", "limits.max_trials=many")
    assert client.made == {}


@pytest.mark.parametrize("word", ["inputs.seed", "=3", "a=[", "type.x=1", "jobs.train.type.deep=1"])
def test_a_change_that_makes_no_sense_is_refused(client: Client, word: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        submit(client, HERE / "pipelines" / "cnn.yml", changes([word]))
    assert client.made == {}


def test_a_check_sends_nothing(client: Client, connected: list[Workspace | None]) -> None:
    result = call("azureml", "submit", HERE / "pipelines" / "transfer.yml", "--check")
    assert "it holds up" in result.stdout
    assert connected == []


def test_what_azure_says_is_one_line(client: Client) -> None:
    from azure.core.exceptions import HttpResponseError

    client.jobs.error = HttpResponseError("\n=====\n  Compute cpu-cluster not found\n=====\n")
    with pytest.raises(UsageError, match=r"cnn\.yml was not taken: Compute cpu-cluster not found$"):
        submit(client, HERE / "pipelines" / "cnn.yml", {})


def test_the_workspace_is_that_of_the_options_else_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(None, None, None) is None
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "s")
    assert named(None, None, None) is None, "one subscription has many workspaces"
    monkeypatch.setenv("AZUREML_RESOURCE_GROUP", "g")
    monkeypatch.setenv("AZUREML_WORKSPACE_NAME", "w")
    assert named(None, None, None) == Workspace("s", "g", "w")
    assert named(None, None, "other") == Workspace("s", "g", "other")
    monkeypatch.delenv("AZUREML_RESOURCE_GROUP")
    with pytest.raises(UsageError, match="--resource-group or AZUREML_RESOURCE_GROUP"):
        named(None, None, None)


def test_config_json_is_found_as_azures_library_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"no workspace .* config\.json"):
        connect(None)
    (tmp_path / ".azureml").mkdir()
    written = {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}
    (tmp_path / ".azureml" / "config.json").write_text(json.dumps(written))
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    client = connect(None)
    assert (client.subscription_id, client.resource_group_name, client.workspace_name) == ("s", "g", "w")
    named_one = connect(Workspace("a", "b", "c"))
    assert (named_one.subscription_id, named_one.workspace_name) == ("a", "c")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, package=None: None if name.startswith("azure") else found(name, package))
    with pytest.raises(UsageError, match="EXTRAS=azure"):
        call("azureml", "submit", HERE / "pipelines" / "cnn.yml")
    source = write_folder(tmp_path / "photos", labelled({"dark": 10, "bright": 10}))
    with pytest.raises(UsageError, match="EXTRAS=azure"):
        call("azureml", "data", "--data", source, "--out", tmp_path / "out", "--upload")
    assert not (tmp_path / "out").exists(), "it is said before the work"
    imported = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> object:  # noqa: ANN401  # as __import__ takes them
        if name.split(".", maxsplit=1)[0] in ("azure", "yaml", "mltable"):
            raise ImportError(name)
        return imported(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.split(".")[0] in ("azure", "yaml")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UsageError, match="EXTRAS=azure"):
        connect(None)
    assert call("azureml", "data", "--data", source, "--out", tmp_path / "out").exit_code == 0, (
        "what needs nothing of Azure works"
    )


def test_data_is_uploaded_when_options_name_a_workspace(
    client: Client, connected: list[Workspace | None], tmp_path: Path
) -> None:
    source = write_folder(tmp_path / "photos", labelled({"dark": 10, "bright": 10}))
    here = call("azureml", "data", "--data", source, "--out", tmp_path / "out")
    assert (here.exit_code, connected) == (0, [])
    assert "20 images of 2 classes" in here.stderr
    line = ("--subscription", "s", "--resource-group", "g", "--workspace", "w", "--name", "scenes")
    sent = call("azureml", "data", "--data", source, "--out", tmp_path / "out", *line)
    assert connected == [Workspace("s", "g", "w")]
    assert [name.split(":")[1] for name in sent.stdout.split()] == ["scenes-images", "scenes-train", "scenes-validation"]
    assert len(client.data.made) == 3

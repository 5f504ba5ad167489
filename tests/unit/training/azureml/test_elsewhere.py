"""`parallax train ... --on azureml` sends what would have run here."""

import zipfile
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

import parallax
from models.errors import UsageError
from tests.support.images import labelled, write_folder, write_zip
from tests.unit.training.azureml.conftest import Client, value
from training import cnn
from training.azureml.elsewhere import HereOrOnAzure
from training.azureml.workspace import Workspace

pytestmark = pytest.mark.usefixtures("connected")


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    return [
        write_zip(tmp_path / "a.zip", labelled({"dark": 10, "bright": 10})),
        write_folder(tmp_path / "b", labelled({"dark": 3, "bright": 3}, "BMP")),
    ]


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(parallax.app, ["train", *map(str, args)], catch_exceptions=False)


def test_a_cnn_is_trained_by_a_pipeline(
    client: Client, connected: list[Workspace | None], sources: list[Path], tmp_path: Path
) -> None:
    test = write_zip(tmp_path / "test.zip", labelled({"dark": 2, "bright": 2}))
    words: list[str | Path] = ["cnn", "--data", *sources, "--exclude", test, "--leave-out", "dark/9.png", "--network", "residual"]
    words += ["--epochs", "3", "--mirrored", "--name", "scenes", "--on", "azureml", "--compute", "big"]
    result = call(*words, "--workspace", "w", "--resource-group", "g", "--subscription", "s")
    assert result.exit_code == 0, result.output
    assert connected == [Workspace("s", "g", "w")]
    (job,) = client.jobs.made
    assert job.settings.default_compute == "big"
    assert value(job.inputs["name"]) == "scenes"
    assert job.outputs["model"].name == "parallax-scenes"
    assert value(job.jobs["train"].inputs["options"]) == "--network residual --epochs 3 --mirrored"
    assert value(job.jobs["prepare"].inputs["test"]) == "${{parent.inputs.test}}"
    with zipfile.ZipFile(Path(value(job.inputs["photos"]).path) / "photos.zip") as photos:
        assert len(photos.namelist()) == 25, "26, but for the one that was left out"
    with zipfile.ZipFile(Path(value(job.inputs["test"]).path) / "photos.zip") as tests:
        assert len(tests.namelist()) == 4
    assert client.jobs.streamed == ["brave_sun_1"]
    assert result.stdout.strip().endswith("brave_sun_1")


def test_transfer_goes_with_what_was_said_and_nothing_else(client: Client, sources: list[Path]) -> None:
    call("transfer", "--data", sources[0], "--backbone", "mobilenetv2", "--fine-tune", "--on", "azureml", "--no-stream")
    (job,) = client.jobs.made
    assert value(job.jobs["train"].inputs["options"]) == "--backbone mobilenetv2 --fine-tune"
    assert value(job.jobs["prepare"].inputs["test"]) is None
    assert value(job.inputs["name"]) == "transfer"
    assert client.jobs.streamed == []


@pytest.mark.parametrize("words", [("--resume",), ("--store", "x"), ("--usd-per-hour", "1")])
def test_what_is_about_this_machine_is_refused(client: Client, sources: list[Path], words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"{words[0]} can't go with --on azureml"):
        call("cnn", "--data", sources[0], "--on", "azureml", *words)
    assert client.made == {}


def test_a_file_of_this_machine_is_refused(client: Client, sources: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("")
    with pytest.raises(UsageError, match="is a file of this machine"):
        call("cnn", "--data", sources[0], "--on", "azureml", "--config", tmp_path / "mine.toml")
    assert client.made == {}


def test_without_the_option_it_runs_here(client: Client, sources: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cnn, "train", lambda *_args, **_more: Path("store/cnn/1"))
    result = call("cnn", "--data", sources[0])
    assert result.stdout.strip() == "store/cnn/1"
    assert client.made == {}


def test_the_sweep_becomes_azures_own(client: Client, sources: list[Path]) -> None:
    app = typer.Typer()

    @app.command("automl", cls=HereOrOnAzure)
    def automl(
        data: list[str],
        exclude: Annotated[list[str], typer.Option()] = [],  # noqa: B006
        leave_out: Annotated[list[str], typer.Option()] = [],  # noqa: B006
        trials: int = 3,
    ) -> None:
        """A sweep."""

    @app.command()
    def other() -> None:
        """A second command, so that the first has a name."""

    def run(*args: str | Path) -> Result:
        return CliRunner().invoke(app, ["automl", *map(str, args)], catch_exceptions=False)

    result = run("--on", "azureml", "--size", "large", "--compute", "gpu", sources[0])
    assert result.exit_code == 0, result.output
    assert [one.name for one in client.data.made] == ["parallax-images", "parallax-train", "parallax-validation"]
    (job,) = client.jobs.made
    assert job.compute == "gpu"
    assert job.training_data.path == f"parallax-train:{client.data.made[1].version}"
    assert job.search_space[0].model_name.values == ["vitb16r224", "vitl16r224"]
    with pytest.raises(UsageError, match="does not know --trials 5"):
        run("--on", "azureml", "--trials", "5", sources[0])


def test_the_size_is_asked_for_only_where_it_means_something() -> None:
    assert "--size" not in call("cnn", "--help").stdout
    assert "--on" in call("cnn", "--help").stdout

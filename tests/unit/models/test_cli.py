"""`parallax models`, and the options that take several values."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner, Result

from models.cli import models_app
from models.cli_options import SeveralValues
from models.errors import UnknownModel, UsageError
from models.metadata import CARD_FILE, Accuracy, ModelCard
from models.repository import Repository
from tests.support.images import labelled, write_folder, write_zip
from tests.support.models import tiny_model, write_graph


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, which the environment names."""
    monkeypatch.setenv("PARALLAX_MODELS_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("PARALLAX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "store"


def call(*args: str | Path, answer: str | None = None) -> Result:
    """Run the command; an error of ours comes through as it was raised."""
    return CliRunner().invoke(models_app, [str(arg) for arg in args], input=answer, catch_exceptions=False)


def words(result: Result) -> str:
    """The output without the line breaks of a narrow terminal."""
    return " ".join(result.output.split())


def test_an_empty_store_says_how_to_fill_it() -> None:
    result = call("list")
    assert result.exit_code == 0
    assert "holds no model. `parallax train cnn --data FOLDER` makes one." in words(result)


def test_list_shows_every_version_and_the_broken_ones_too(store: Path) -> None:
    tiny_model(store, labels=("dark", "grey", "bright"), height=40, width=50, precisions=("fp32", "int8"))
    tiny_model(store, "other")
    (store / "tiny" / "2").mkdir()
    output = words(call("list"))
    assert "tiny/1 3 50x40 fp32, int8 ?, ? not yet elsewhere" in output
    assert "other/1" in output
    assert "broken tiny/2: tiny/2 has no model.json" in output


def test_list_shows_what_each_variant_did_on_validation_images_if_that_is_known(store: Path) -> None:
    stored = tiny_model(store, precisions=("fp32", "int8"))
    found = Accuracy(correct=3, images=4, value=0.75, low=0.3, high=0.9)
    fp32, int8 = stored.card.variants
    Repository(store).update(stored.card.model_copy(update={"variants": [fp32, int8.model_copy(update={"validation": found})]}))
    assert "tiny/1 2 32x32 fp32, int8 ?, 75.0% not yet" in words(call("list"))


def test_a_narrow_terminal_cuts_off_no_name(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a_backend_with_a_long_name_of_forty_char"
    tiny_model(store, name)
    monkeypatch.setenv("COLUMNS", "60")
    assert f"{name}/1" in call("list").output


def test_a_store_can_be_named_on_the_line(store: Path, tmp_path: Path) -> None:
    tiny_model(tmp_path / "elsewhere", "other")
    assert "other/1" in call("list", "--store", tmp_path / "elsewhere").output
    assert "other/1" not in call("list").output


def test_show_prints_the_card_as_json(store: Path) -> None:
    for _ in range(2):
        tiny_model(store)
    assert ModelCard.model_validate_json(call("show", "tiny").output).version == "2"
    assert ModelCard.model_validate_json(call("show", "tiny/1").output) == Repository(store).get("tiny", "1").card


@pytest.mark.parametrize("name", ["other", "tiny/2", "tiny/x", ""])
def test_show_of_what_is_not_there_says_what_is(store: Path, name: str) -> None:
    tiny_model(store)
    with pytest.raises(UnknownModel, match="tiny"):
        call("show", name)


def test_verify_finds_sound_models_sound(store: Path) -> None:
    tiny_model(store, precisions=("fp32", "int8"))
    tiny_model(store, "other")
    result = call("verify")
    assert result.exit_code == 0
    assert "sound other/1: golden scores differ by at most" in words(result)
    assert "sound tiny/1" in words(result)


def test_verify_finds_what_is_unfit_and_says_so_in_its_exit_status(store: Path) -> None:
    tiny_model(store)
    tampered = tiny_model(store)
    write_graph(tampered.folder / "model.onnx", 2, sharpness=25)
    (store / "tiny" / "3").mkdir()
    result = call("verify")
    assert result.exit_code == 1
    assert "sound tiny/1" in words(result)
    assert "unfit tiny/2: tiny/2/model.onnx is not the file that tiny's card describes" in words(result)
    assert "unfit tiny/3: tiny/3 has no model.json" in words(result)
    assert call("verify", "tiny/1").exit_code == 0
    assert call("verify", "tiny/2").exit_code == 1


def test_verify_runs_the_golden_vectors(store: Path, tmp_path: Path) -> None:
    stored = tiny_model(store)
    other = tiny_model(tmp_path / "elsewhere", sharpness=25)
    (stored.folder / "golden.npz").write_bytes((other.folder / "golden.npz").read_bytes())
    Repository(store).update(stored.card.model_copy(update={"golden": other.card.golden}))
    result = call("verify")
    assert result.exit_code == 1
    assert "unfit tiny/1: golden scores differ" in words(result)


def test_evaluate_writes_the_result_once(store: Path, tmp_path: Path) -> None:
    tiny_model(store)
    test = write_folder(tmp_path / "test", labelled({"dark": 3, "bright": 3}))
    assert "tiny/1 fp32 on test: accuracy 100.0%" in words(call("evaluate", "tiny", "--test", test))
    assert Repository(store).get("tiny").card.tests[0].accuracy["fp32"].correct == 6
    assert "100.0%" in call("list").output
    with pytest.raises(UsageError, match="tiny/1 met these images"):
        call("evaluate", "tiny", "--test", test)


def test_evaluate_takes_several_sources_after_one_name(store: Path, tmp_path: Path) -> None:
    tiny_model(store)
    files = labelled({"dark": 2, "bright": 2})
    parts = [write_zip(tmp_path / f"part{i}.zip", dict([item])) for i, item in enumerate(files.items())]
    call("evaluate", "--test", *parts[:3], "--test", parts[3], "--store", store, "tiny")
    (record,) = Repository(store).get("tiny").card.tests
    assert (record.data.images, record.data.name) == (4, "part0.zip + part1.zip + part2.zip + part3.zip")


def test_evaluate_needs_a_test_set(store: Path) -> None:
    tiny_model(store)
    result = call("evaluate", "tiny")
    assert result.exit_code == 2
    assert "--test" in result.output


def test_delete_asks_first(store: Path) -> None:
    tiny_model(store)
    result = call("delete", "tiny/1", answer="n\n")
    assert result.exit_code == 1
    assert f"Delete tiny/1 from {store}?" in result.output
    assert Repository(store).names() == ["tiny"]
    assert "deleted tiny/1" in call("delete", "tiny/1", answer="y\n").output
    assert Repository(store).names() == []


def test_delete_takes_broken_versions_too_and_yes_for_an_answer(store: Path) -> None:
    (tiny_model(store).folder / CARD_FILE).unlink()
    assert call("delete", "tiny/1", "--yes").exit_code == 0
    assert Repository(store).names() == []


def test_delete_wants_a_version(store: Path) -> None:
    tiny_model(store)
    with pytest.raises(UsageError, match="name the version to delete, as in tiny/1"):
        call("delete", "tiny", "--yes")
    with pytest.raises(UnknownModel):
        call("delete", "tiny/2", "--yes")
    assert Repository(store).names() == ["tiny"]


app = typer.Typer()


@app.command(cls=SeveralValues)
def echo(
    name: str,
    data: Annotated[list[str], typer.Option("--data", "-d")],
    exclude: Annotated[list[str], typer.Option()] = [],  # noqa: B006  # typer's way of saying "none unless given"
    seed: int = 1,
    resume: bool = False,
) -> None:
    typer.echo(f"{name} {data} {exclude} {seed} {resume}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cnn --data A", "cnn ['A'] [] 1 False"),
        ("cnn --data A B C", "cnn ['A', 'B', 'C'] [] 1 False"),
        ("cnn --data A --data B", "cnn ['A', 'B'] [] 1 False"),
        ("cnn --data=A B", "cnn ['A', 'B'] [] 1 False"),
        ("cnn -d A B", "cnn ['A', 'B'] [] 1 False"),
        ("cnn --data A B --exclude C D --data E", "cnn ['A', 'B', 'E'] ['C', 'D'] 1 False"),
        ("--data A B --seed 7 cnn", "cnn ['A', 'B'] [] 7 False"),
        ("--data A B --resume cnn", "cnn ['A', 'B'] [] 1 True"),
        ("cnn --data A B --seed 7 --exclude C", "cnn ['A', 'B'] ['C'] 7 False"),
        ("--data A B -- cnn", "cnn ['A', 'B'] [] 1 False"),
    ],
)
def test_a_repeatable_option_takes_several_values_in_a_row(line: str, said: str) -> None:
    result = CliRunner().invoke(app, line.split(), catch_exceptions=False)
    assert result.output.strip() == said


def test_a_single_option_still_takes_one() -> None:
    result = CliRunner().invoke(app, ["--data", "A", "--seed", "1", "2"], catch_exceptions=False)
    assert result.output.strip() == "2 ['A'] [] 1 False"


def test_an_error_of_ours_is_a_line_and_exit_status_2(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parallax", "models", "show", "nowhere"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"parallax: there is no sound version of 'nowhere' in {store}; names: none\n"
    assert done.stdout == ""

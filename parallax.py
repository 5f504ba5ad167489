"""The command line: mounts what each room offers, and loads none of it before it is called."""

import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from loadtest.cli import loadtest_app
from models import __version__
from models.cli import models_app
from models.errors import ParallaxError
from service.cli import serve
from service.score.cli import score
from training.azureml.cli import azureml_app
from training.cli import export, train_app
from training.customvision.cli import customvision_app
from training.store_cli import mount
from training.sweep.cli import mount as mount_automl

TRAINING_COMMANDS = {
    "train": "tensorflow",
    "export": "tensorflow",
    "models optimize": "onnx",
    "models import": "onnx",
    "models push": "mlflow",
    "models pull": "mlflow",
    "customvision": "msrest",
}
"""With a package that only the environment for training has."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # rich's own would take "[default: 8000]" for a style, and leave it out
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"parallax {__version__}")
        raise typer.Exit


@app.callback()
def parallax(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Image classifiers side by side: train them, serve them, measure them."""
    del version  # its callback has answered


app.command()(serve)
app.command()(score)
mount_automl(train_app)
app.add_typer(train_app, name="train")
app.command()(export)
app.add_typer(azureml_app, name="azureml")
app.add_typer(customvision_app, name="customvision")
mount(models_app)
app.add_typer(models_app, name="models")
app.add_typer(loadtest_app, name="loadtest")


def main() -> None:
    """Run the command line. What Parallax foresaw is a message and exit status 2, never a traceback."""
    words = [arg for arg in sys.argv[1:] if not arg.startswith("-")]
    command = next((known for known in (" ".join(words[:count]) for count in (1, 2)) if known in TRAINING_COMMANDS), "")
    if words[:1] == ["loadtest"] and "--help" not in sys.argv and find_spec("locust") is None:
        _fail(
            "`parallax loadtest` needs an environment with locust, which never enters the serving one. "
            f"Type: scripts/env.sh loadtest && .venv-loadtest/bin/parallax {' '.join(sys.argv[1:])}"
        )
    if command and "--help" not in sys.argv and find_spec(TRAINING_COMMANDS[command]) is None:
        _fail(
            f"`parallax {command}` needs the environment for training: TensorFlow and its like never enter the serving one. "
            f"Type: make train-env && .venv-train/bin/parallax {' '.join(sys.argv[1:])}"
        )
    try:
        app(prog_name="parallax")
    except ParallaxError as exc:
        _fail(str(exc))


def _fail(message: str) -> None:
    typer.secho(f"parallax: {message}", fg=typer.colors.RED, err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()

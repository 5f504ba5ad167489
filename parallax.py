"""The command line: mounts what each room offers, and loads none of it before it is called."""

import sys

import typer

from models.errors import ParallaxError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Image classifiers side by side: train them, serve them, measure them.",
)


def _mount() -> None:
    from training.cli import export, train_app

    app.add_typer(train_app, name="train")
    app.command()(export)


def main() -> None:
    """Run the command line; an error that Parallax foresaw is a message and exit status 2, not a traceback."""
    _mount()
    try:
        app()
    except ParallaxError as exc:
        typer.secho(f"parallax: {exc}", fg=typer.colors.RED, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()

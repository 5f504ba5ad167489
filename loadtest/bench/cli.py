"""The commands of `python -m loadtest.bench`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.errors import ParallaxError, UsageError
from models.workspace import models_dir

if TYPE_CHECKING:
    from loadtest.bench.report import Sheet

SOAK = "soak"

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)  # which would eat "[default: all]"


@app.callback()
def bench() -> None:
    """Measure Parallax on this machine. Figures are printed, and kept with --write; nothing but a soak passes or fails."""


@app.command()
def speed(
    seconds: Annotated[float, typer.Option(min=0.5, help="Measured time of each round.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured, in turn; medians are reported.")] = 5,
    backends: Annotated[str, typer.Option(help="Names from the store, with commas between them [default: all].")] = "",
    concurrency: Annotated[str, typer.Option(help="Numbers of connections, with commas between them.")] = "1,8,32,128",
    images: Annotated[
        str | None,
        typer.Option(
            help="Zip or folder of class folders to take 64 images from [default: the test set in the folder "
            "PARALLAX_TEST_IMAGES, else generated ones]."
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Where models are kept [default: PARALLAX_MODELS_DIR or models/store].")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write the tables into this Markdown file, between its markers.")] = None,
) -> None:
    """Compare Parallax with the in-process limit, a tutorial's server and the floor of HTTP, on the CPU; then a call through it.

    For each backend, in rounds that take turns: decoding and inference in process with the best plan, which is searched first;
    `parallax serve` as it comes, tuned; a plain FastAPI server as tutorials write it; a server that does nothing. The load comes
    from a process of its own, which checks every label. A round that other load on the machine disturbed is measured again.

    Parallax gets images as raw bodies, the plain server as the forms that its framework's tutorial asks for.
    """
    from loadtest.bench import facts, report
    from loadtest.bench.images import read_pictures
    from loadtest.bench.measure import Disturbances
    from loadtest.bench.proxy import proxy as measure_proxy
    from loadtest.bench.speed import Options, Progress, compare, seconds_needed
    from models.machine import usable_cpus
    from models.repository import Repository

    options = Options(seconds, rounds, _numbers(concurrency), usable_cpus())
    repository = Repository(store or models_dir())
    chosen = [repository.get(name) for name in _names(backends) or repository.names()]
    if not chosen:
        raise UsageError(f"{repository.root} holds no model to measure")
    pictures = read_pictures(images)
    console = Console() if sys.stdout.isatty() else Console(width=130)
    disturbances = Disturbances()
    sheets = []
    with Bar(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, refresh_per_second=1
    ) as bar:  # drawn rarely: it runs beside what is measured
        task = bar.add_task("", total=seconds_needed(options, len(chosen)))
        progress = Progress(lambda text: bar.update(task, description=text), lambda over: bar.advance(task, over))
        for stored in chosen:
            sheets.append(report.sheet_of(compare(stored, pictures, options, disturbances, progress)))
            sheets[-1].show(console)
    console.print(f"{facts.machine()}. {report.noise_note(disturbances)}", highlight=False)
    through = measure_proxy(pictures.files)
    through.show(console)
    if disturbances.kept:
        console.print("[yellow]Other processes ran meanwhile: measure again on a quiet machine before you quote this.[/]")
    if write:
        about = (
            f"{facts.machine()}. Commit {facts.commit()}, {facts.today()}, `{facts.command(sys.argv[1:])}`. "
            f"Medians of {rounds} rounds of {seconds:g} s; {report.noise_note(disturbances)}"
        )
        report.write_section(write, "speed", "\n\n".join([about, *(sheet.markdown().strip() for sheet in sheets)]))
        _write(write, "proxy", through)
        console.print(f"written into {write}", highlight=False)


@app.command()
def proxy(
    pairs: Annotated[int, typer.Option(min=1, help="Calls each way.")] = 600,
    images: Annotated[str | None, typer.Option(help="As for `speed`.")] = None,
    write: Annotated[Path | None, typer.Option(help="As for `speed`, in a section of its own.")] = None,
) -> None:
    """Compare a call of Custom Vision through Parallax with one straight to it; a stand-in answers. `speed` ends with this."""
    from loadtest.bench.images import read_pictures
    from loadtest.bench.proxy import proxy as measure_proxy

    sheet = measure_proxy(read_pictures(images).files, pairs)
    sheet.show(Console() if sys.stdout.isatty() else Console(width=130))
    if write:
        _write(write, "proxy", sheet)


@app.command()
def clients(
    rate: Annotated[float, typer.Option(min=1, help="Requests a second.")] = 200,
    seconds: Annotated[int, typer.Option(min=1, help="Measured time of each round.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turn.")] = 3,
    backend: Annotated[str, typer.Option(help="Name from the store.")] = "cnn",
    images: Annotated[str | None, typer.Option(help="As for `speed`.")] = None,
    store: Annotated[Path | None, typer.Option(help="As for `speed`.")] = None,
    write: Annotated[Path | None, typer.Option(help="As for `speed`, in a section of its own.")] = None,
) -> None:
    """Hold `parallax loadtest`'s median against that of wrk, which paces itself to the same rate: 20 % apart at most."""
    from loadtest.bench.clients import clients as compare_clients
    from loadtest.bench.stage import open_stage
    from models.repository import Repository

    console = Console() if sys.stdout.isatty() else Console(width=130)
    with open_stage(Repository(store or models_dir()).get(backend), images) as stage:
        sheet = compare_clients(stage, rate, seconds, rounds, lambda text: console.print(text, highlight=False))
    sheet.show(console)
    if write:
        _write(write, "clients", sheet)


@app.command()
def variants(
    backend: Annotated[str, typer.Argument(help="Name from the store; NAME/VERSION if not the newest.")] = "transfer",
    seconds: Annotated[float, typer.Option(min=0.5, help="Measured time of each round.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turn.")] = 5,
    images: Annotated[str | None, typer.Option(help="As for `speed`.")] = None,
    store: Annotated[Path | None, typer.Option(help="As for `speed`.")] = None,
    write: Annotated[Path | None, typer.Option(help="As for `speed`, in a section of its own.")] = None,
) -> None:
    """Compare the variants of one model over HTTP: a service for each, which serves nothing else, in rounds that take turns."""
    from loadtest.bench.images import read_pictures
    from loadtest.bench.measure import Disturbances
    from loadtest.bench.variants import variants as compare_variants
    from models.repository import Repository

    console = Console() if sys.stdout.isatty() else Console(width=130)
    stored = Repository(store or models_dir()).get(*backend.split("/", 1))
    sheet = compare_variants(
        stored, read_pictures(images), seconds, rounds, Disturbances(), lambda text: console.print(text, highlight=False)
    )
    sheet.show(console)
    if write:
        _write(write, "variants", sheet)


@app.command()
def scenario(
    names: Annotated[
        list[str] | None, typer.Argument(help="swap, neighbours, scoring, throughput, overload or soak [default: all but soak].")
    ] = None,
    backend: Annotated[str, typer.Option(help="Name from the store.")] = "cnn",
    images: Annotated[str | None, typer.Option(help="As for `speed`.")] = None,
    store: Annotated[Path | None, typer.Option(help="As for `speed`.")] = None,
    minutes: Annotated[float, typer.Option(min=0.2, help="Of soak.")] = 30,
    load: Annotated[float, typer.Option(min=0.01, max=1, help="Of soak: share of the capacity.")] = 0.7,
    workers: Annotated[
        int, typer.Option(min=1, help="Of soak: processes that serve; of several, one is killed now and then.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of soak: of what is drawn.")] = 0,
    write: Annotated[Path | None, typer.Option(help="As for `speed`: each scenario has a section of its own.")] = None,
) -> None:
    """Play what happens in production: what callers notice of it.

    swap: 70 % of capacity for a minute, while a new version comes every 2 s and a corrupt one every 5 s. neighbours: small
    images beside 20-megapixel and broken ones. scoring: half of the capacity, beside a scoring run. throughput: a scoring
    run alone, against the in-process limit. overload: a noisy caller sends 2 and 5 times what the service can do, beside a
    polite one; then interactive requests beside background ones.

    soak: load for half an hour, while versions change, jobs score, callers misbehave, and workers and the service behind another
    backend are killed. It alone can fail: exit status 1 if something happened that must not, such as a lost request.
    """
    from loadtest.bench.scenarios import OPTIONS, SCENARIOS
    from loadtest.bench.soak.plan import Plan
    from loadtest.bench.soak.scenario import soak
    from loadtest.bench.stage import open_stage
    from models.repository import Repository

    chosen = names or list(SCENARIOS)
    if unknown := [name for name in chosen if name not in {*SCENARIOS, SOAK}]:
        raise UsageError(f"there is no scenario {unknown[0]!r}; there are: {', '.join([*SCENARIOS, SOAK])}")
    stored = Repository(store or models_dir()).get(backend)
    console = Console() if sys.stdout.isatty() else Console(width=130)
    broken = False
    for name in chosen:
        if name == SOAK:
            console.print(f"{name}: this takes {minutes:g} minutes and one more", highlight=False)
            sheet = soak(stored, images, Plan(60 * minutes, load, workers, seed))
        else:
            console.print(f"{name}: this takes about a minute or two", highlight=False)
            with open_stage(stored, images, **OPTIONS.get(name, {})) as stage:
                sheet = SCENARIOS[name](stage)
        sheet.show(console)
        broken = broken or bool(sheet.unforeseen)
        if write:
            _write(write, name if name != SOAK or workers == 1 else f"{name} with {workers} workers", sheet)
            console.print(f"written into {write}", highlight=False)
    if broken:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line. What was foreseen is a message and exit status 2, never a traceback."""
    try:
        app(prog_name="python -m loadtest.bench")
    except ParallaxError as exc:
        typer.secho(f"bench: {exc}", fg=typer.colors.RED, err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _write(path: Path, name: str, sheet: "Sheet") -> None:
    """Into a section of its own, with what was measured where."""
    from loadtest.bench import facts, report

    about = f"{facts.machine()}. Commit {facts.commit()}, {facts.today()}, `{facts.command(sys.argv[1:])}`."
    report.write_section(path, name, f"{about}\n\n{sheet.markdown()}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        numbers = sorted({int(number) for number in _names(text)})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise UsageError(f"--concurrency {text!r} must be numbers of connections, such as 1,8,32")
    return numbers

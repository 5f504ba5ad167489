"""`parallax loadtest`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

loadtest_app = typer.Typer(no_args_is_help=True, help="Load a running server: a verdict on a mix of callers, and its capacity.")

WHAT, HOW, WHERE, WRITTEN = "What is sent", "How much", "From where", "What is judged and written"
Url = Annotated[str, typer.Argument(help="The server.", metavar="URL")]
HOME = "http://127.0.0.1:8000"
Seed = Annotated[
    int, typer.Option(min=0, help="Of images, order and due times: the same seed asks for the same work.", rich_help_panel=WHAT)
]
Images = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="A zip to take 32 images from [default: generated ones].", rich_help_panel=WHAT
    ),
]
Backend = Annotated[str, typer.Option(help="The backend to ask [default: the server's].", rich_help_panel=WHAT)]
AllowRemote = Annotated[
    bool,
    typer.Option("--allow-remote", help="Backends elsewhere too, which count calls and may bill them.", rich_help_panel=WHAT),
]
Processes = Annotated[
    int, typer.Option(min=1, help="Locust processes that send, one for each core to use.", rich_help_panel=WHERE)
]
Users = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Callers at most, of all kinds: connections [default: as many as a second's requests]. Without --rate a closed loop "
        "of so many callers, who each wait for their reply before they ask again.",
        rich_help_panel=HOW,
    ),
]
Poisson = Annotated[
    bool, typer.Option("--poisson", help="Requests fall due at random, as independent callers come.", rich_help_panel=HOW)
]


@loadtest_app.command()
def run(
    url: Url = HOME,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Requests a second at the shape's full level [default: 20, without --users].", rich_help_panel=HOW
        ),
    ] = None,
    users: Users = None,
    shape: Annotated[
        Literal["steady", "ramp", "spike", "soak"],
        typer.Option(
            help="steady; ramp: rising; spike: a fifth, for a third of the time all, a fifth; soak: long.",
            rich_help_panel=HOW,
        ),
    ] = "steady",
    duration: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds that are measured [default: 30; ramp and spike 60, soak 3600].", rich_help_panel=HOW),
    ] = None,
    warm_up: Annotated[
        float, typer.Option(min=0, help="Seconds before them, on the shape's first level.", rich_help_panel=HOW)
    ] = 2,
    poisson: Poisson = False,
    mix: Annotated[
        str,
        typer.Option(
            metavar="USER=SHARE,...",
            help="Shares of requests: classify, compare, customvision (as the SDK asks), scoring (a job, followed to its end), "
            "bad (what must be refused) [default: classify=90,compare=4,customvision=4,scoring=0.2,bad=1.8].",
            rich_help_panel=WHAT,
        ),
    ] = "",
    backend: Backend = "",
    backends: Annotated[
        str, typer.Option(help="For compare, with commas between [default: all that cost nothing].", rich_help_panel=WHAT)
    ] = "",
    project: Annotated[
        str | None, typer.Option(help="A project's id, for customvision [default: any].", rich_help_panel=WHAT)
    ] = None,
    published_name: Annotated[str, typer.Option(help="Its published name [default: the backend's].", rich_help_panel=WHAT)] = "",
    images: Images = None,
    seed: Seed = 0,
    allow_remote: AllowRemote = False,
    processes: Processes = 1,
    lead: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Listen here (* for everywhere) for --processes of `parallax loadtest join`; send nothing from here.",
            rich_help_panel=WHERE,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of --lead.", rich_help_panel=WHERE)] = 5557,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="What to keep [default: loadtest/thresholds.toml].", rich_help_panel=WRITTEN),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="One page for people.", rich_help_panel=WRITTEN)
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE.json", help="Verdict and all counts.", rich_help_panel=WRITTEN)
    ] = None,
) -> None:
    """Load a server with a mix of callers, print what came of it, and judge it.

    With a rate the loop is open: requests fall due by the clock whatever the server does. One that finds no free caller waits,
    and its latency counts from when it was due, so a stall shows in full. A closed loop (--users alone) measures only what its
    callers see.

    A server's key is read from PARALLAX_API_KEY, or from the file PARALLAX_API_KEYS_FILE.

    Exit status: 0 if all thresholds are kept, 1 if one is missed, 2 if what was asked for can't be done or the server can't be
    reached, 3 if the result does not count because locust was the bottleneck.
    """
    from loadtest import command

    options: dict[str, Any] = {
        "rate": 20.0 if rate is None and users is None else rate,
        "users": users,
        "shape": shape,
        "seconds": duration,
        "warm_up_s": warm_up,
        "poisson": poisson,
        "backend": backend,
        "backends": backends,
        "published_name": published_name,
        "images": str(images.resolve()) if images else None,
        "seed": seed,
        "processes": processes,
        **({"project": project} if project else {}),
    }
    files = command.Files(thresholds, report, json_file)
    leading = (lead, port) if lead else None
    raise typer.Exit(_foreseen(lambda: command.run(url, options, mix, files, allow_remote=allow_remote, lead=leading)))


@loadtest_app.command()
def capacity(
    url: Url = HOME,
    p99_ms: Annotated[
        float, typer.Option(min=0.1, help="The 99th percentile to keep, in milliseconds.", rich_help_panel=HOW)
    ] = 100,
    backend: Backend = "",
    seconds: Annotated[
        float, typer.Option(min=1, help="Measured time of each rate; the last is tried for twice that.", rich_help_panel=HOW)
    ] = 10,
    start: Annotated[float, typer.Option(min=0.5, help="Requests a second to begin with.", rich_help_panel=HOW)] = 20,
    max_rate: Annotated[float, typer.Option(min=0.5, help="The highest rate to try.", rich_help_panel=HOW)] = 10_000,
    precision: Annotated[float, typer.Option(min=0.01, max=1, help="How near to come, as a ratio.", rich_help_panel=HOW)] = 0.05,
    users: Users = None,
    poisson: Poisson = False,
    images: Images = None,
    seed: Seed = 0,
    allow_remote: AllowRemote = False,
    processes: Processes = 1,
    wanted_rate: Annotated[
        float | None, typer.Option(min=0.01, help="Requests a second to plan for [default: none].", rich_help_panel=WRITTEN)
    ] = None,
    headroom: Annotated[
        float, typer.Option(min=0.05, max=1, help="Share of its capacity that a replica is to run at.", rich_help_panel=WRITTEN)
    ] = 0.7,
    usd_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Price of a machine like the server's.", rich_help_panel=WRITTEN)
    ] = None,
) -> None:
    """Find the highest rate of /v1/classify that keeps a 99th percentile, with fewer than 1 in 1,000 refused or failed.

    The rate doubles until the target is missed, the gap is halved until it is small, and what was found is tried again for twice
    as long. From it follow replicas and USD a month (730 hours) for a wanted rate.

    Exit status: 0 if a rate was found, 1 if none keeps the target, 2 if the server can't be reached, 3 if locust was the
    bottleneck before the server was.
    """
    from loadtest import command

    options: dict[str, Any] = {
        "users": users,
        "poisson": poisson,
        "backend": backend,
        "images": str(images.resolve()) if images else None,
        "seed": seed,
        "processes": processes,
        "mix": {"classify": 1},
        "drain_s": min(10.0, seconds),
    }
    wanted = command.Wanted(p99_ms, start, max_rate, precision, seconds, wanted_rate, headroom, usd_per_hour)
    raise typer.Exit(_foreseen(lambda: command.capacity(url, options, wanted, allow_remote=allow_remote)))


@loadtest_app.command()
def join(
    master: Annotated[str, typer.Argument(help="Host that `parallax loadtest run --lead` listens on.", metavar="HOST")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 5557,
) -> None:
    """Send for a test that is led elsewhere: one process, until that test ends. The key is read as for `run`."""
    from loadtest import command

    raise typer.Exit(_foreseen(lambda: command.join(master, port)))


def _foreseen(work: Callable[[], int]) -> int:
    """Do it; what was foreseen is a message and exit status 2, never a traceback."""
    from loadtest.command import FORESEEN
    from loadtest.verdict import Exit

    try:
        return work()
    except FORESEEN as exc:
        typer.secho(f"parallax: {exc}", fg=typer.colors.RED, err=True)
        return Exit.USAGE

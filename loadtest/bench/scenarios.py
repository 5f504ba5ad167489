"""What callers notice of what happens in production: each scenario is a sheet of figures."""

from collections.abc import Callable, Mapping

from loadtest.bench.images import big_jpeg
from loadtest.bench.jobs import Outcome, Request, Stream
from loadtest.bench.overload import overload
from loadtest.bench.report import Sheet
from loadtest.bench.scoring import scoring
from loadtest.bench.stage import STEP_S, Stage, figures, ok
from loadtest.bench.swap import swap
from loadtest.bench.throughput import throughput
from loadtest.bench.wire import post

BIG = (5472, 3648)
"""What a 20-megapixel camera writes."""


def neighbours(stage: Stage) -> Sheet:
    """Small images beside one caller of 20-megapixel ones, and beside one whose images are broken."""
    name = stage.stored.card.name
    big = [Request(post(f"/v1/classify?backend={name}", big_jpeg(*BIG), {}), (b'"predictions":',))]
    broken = [Request(post(f"/v1/classify?backend={name}", one.data[:-2000], {})) for one in stage.known]
    small = Stream("small images", stage.ask(), 8)
    rows = []
    quiet = 0.0
    for title, others in (
        ("alone", []),
        ("beside 20 megapixels", [Stream("20 megapixels", big, 1)]),
        ("beside broken images", [Stream("broken images", broken, 1)]),
        ("alone again", []),
    ):
        outcomes = stage.play(STEP_S, [small, *others])
        p99 = ok(outcomes["small images"]).p99
        quiet = quiet or p99
        other = [
            f"{outcome.answered / STEP_S:.1f}/s {_statuses(outcome)}" for key, outcome in outcomes.items() if key != small.name
        ]
        rows.append([title, *figures(outcomes["small images"]), f"{p99 / quiet:.2f}", *(other or [""])])
    header = ("8 callers of small images", "requests/s", "p50 ms", "p99 ms", "not 200", "p99 to alone", "the neighbour")
    return Sheet(f"Neighbours, {name}", header, rows)


def _statuses(outcome: Outcome) -> str:
    return ", ".join(f"{count} x {status}" for status, count in outcome.statuses.items())


SCENARIOS: Mapping[str, Callable[[Stage], Sheet]] = {
    "swap": swap,
    "neighbours": neighbours,
    "scoring": scoring,
    "throughput": throughput,
    "overload": overload,
}
OPTIONS: Mapping[str, Mapping[str, bool]] = {"overload": {"keyed": True, "apart": True}}
"""Of `open_stage`, for those that need any."""

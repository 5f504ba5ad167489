"""What callers notice when others misbehave or too many come: each scenario is a sheet of figures."""

from collections.abc import Callable, Iterator, Mapping

from loadtest.bench.images import big_jpeg
from loadtest.bench.jobs import Outcome, Request, Stream
from loadtest.bench.report import Sheet
from loadtest.bench.scoring import scoring
from loadtest.bench.stage import Stage, figures, ok
from loadtest.bench.swap import swap
from loadtest.bench.throughput import throughput
from loadtest.bench.wire import post

STEP_S = 8.0
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


def overload(stage: Stage) -> Sheet:
    """A polite caller and a noisy one that sends 2 and 5 times what the service can do, with pauses between.

    The generator has a processor of its own where there are two: what it spends on being refused is not the service's.
    """
    full = stage.capacity("noisy")
    capacity = full.rate
    noisy, polite = stage.ask("noisy"), stage.ask("polite")
    rows = [["capacity, 32 callers who wait", "", *figures(full), "100 %", "", ""]]
    for factor in (2, 5):
        begin, end = STEP_S, 2 * STEP_S
        streams = [
            Stream("polite", polite, 64, rate=0.1 * capacity),
            Stream("before", noisy, 64, rate=0.4 * capacity, end_s=begin),
            Stream("noisy", noisy, 1024, rate=factor * capacity, begin_s=begin, end_s=end),
            Stream("after", noisy, 64, rate=0.4 * capacity, begin_s=end),
        ]
        outcomes = stage.play(3 * STEP_S, streams)
        served = sum(step.ok for name in ("polite", "noisy") for step in outcomes[name].time_line if begin <= step.at_s < end)
        calm = max(
            [step.at_s + 0.5 for name in ("after", "polite") for step in outcomes[name].time_line if step.others], default=end
        )
        share = f"{served / STEP_S / capacity:.0%}"
        recovery = f"{max(0.0, calm - end):.1f} s"
        rows.append(
            [
                f"noisy at {factor}x",
                f"{factor * capacity:,.0f}/s",
                *figures(outcomes["noisy"]),
                share,
                recovery,
                _lag(outcomes["noisy"]),
            ]
        )
        rows.append([f"polite, beside {factor}x", f"{0.1 * capacity:,.0f}/s", *figures(outcomes["polite"]), "", "", ""])
    rows += _priorities(stage)
    header = (
        "caller",
        "offered",
        "answered/s",
        "p50 ms",
        "p99 ms",
        "not 200",
        "all, of capacity",
        "refusals end after",
        "lag ms",
    )
    return Sheet(f"Overload, {stage.stored.card.name}", header, rows)


def _priorities(stage: Stage) -> Iterator[list[str]]:
    urgent = Stream("interactive", stage.ask("polite"), 8)
    for title, others in (
        ("8 interactive callers alone", []),
        ("the same, beside 32 in the background", [Stream("background", stage.ask("noisy", Priority="u=6"), 32)]),
    ):
        outcomes = stage.play(STEP_S, [urgent, *others])
        background = f"{outcomes['background'].rate:,.0f}/s in the background" if others else ""
        yield [title, "", *figures(outcomes["interactive"]), "", "", background]


def _statuses(outcome: Outcome) -> str:
    return ", ".join(f"{count} x {status}" for status, count in outcome.statuses.items())


def _lag(outcome: Outcome) -> str:
    return f"{outcome.lag_ms:.1f}"


SCENARIOS: Mapping[str, Callable[[Stage], Sheet]] = {
    "swap": swap,
    "neighbours": neighbours,
    "scoring": scoring,
    "throughput": throughput,
    "overload": overload,
}
OPTIONS: Mapping[str, Mapping[str, bool]] = {"overload": {"keyed": True, "apart": True}}
"""Of `open_stage`, for those that need any."""

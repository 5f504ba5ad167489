"""Far more than the service can do: what it goes on doing, whom it refuses, and how soon it is over."""

from collections.abc import Iterator

from loadtest.bench.jobs import Job, Outcome, Stream
from loadtest.bench.report import Sheet
from loadtest.bench.stage import STEP_S, Stage, figures

FACTORS = (2, 5)


def overload(stage: Stage) -> Sheet:
    """A polite caller and a noisy one that sends 2 and 5 times what the service can do, with pauses between.

    The generator has a processor of its own where there are two: what it spends on being refused is not the service's. Its
    noisy caller has 1,024 connections: what is due while all of them wait for an answer is not sent. What is served is held
    against the capacity just before and just after, since machines change their speed within a minute.
    """
    full = stage.capacity("noisy")
    rows = [["capacity, 32 callers who wait", "", *figures(full), "100 %", "", ""]]
    for factor in FACTORS:
        offered = factor * full.rate
        outcomes = stage.play(3 * STEP_S, _streams(stage, full.rate, offered))
        again = stage.capacity("noisy")
        share = f"{_served(outcomes) / ((full.rate + again.rate) / 2):.0%}"
        polite = [f"{0.1 * full.rate:,.0f}/s", *figures(outcomes["polite"])]
        sent = offered - outcomes["noisy"].not_sent / STEP_S
        noisy = [f"{offered:,.0f}/s, sent {sent:,.0f}/s", *figures(outcomes["noisy"])]
        rows += [
            [f"noisy at {factor}x", *noisy, share, f"{_refused_after(outcomes):.1f} s", f"{outcomes['noisy'].lag_ms:.1f}"],
            [f"polite, beside {factor}x", *polite, "", "", ""],
            ["capacity again", "", *figures(again), "", "", ""],
        ]
        full = again
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


def _streams(stage: Stage, capacity: float, offered: float) -> list[Stream]:
    """A step of calm, one of overload, another of calm."""
    noisy = stage.ask("noisy")
    return [
        Stream("polite", stage.ask("polite"), 64, rate=0.1 * capacity),
        Stream("before", noisy, 64, rate=0.4 * capacity, end_s=STEP_S),
        Stream("noisy", noisy, 1024, rate=offered, begin_s=STEP_S, end_s=2 * STEP_S),
        Stream("after", noisy, 64, rate=0.4 * capacity, begin_s=2 * STEP_S),
    ]


def _served(outcomes: dict[str, Outcome]) -> float:
    """Images a second while there is too much."""
    steps = [step for name in ("polite", "noisy") for step in outcomes[name].time_line if STEP_S <= step.at_s < 2 * STEP_S]
    return sum(step.ok for step in steps) / STEP_S


def _refused_after(outcomes: dict[str, Outcome]) -> float:
    """Seconds from the end of the overload until nobody is refused any more."""
    end = 2 * STEP_S
    refused = [step.at_s + Job.tick_s for name in ("after", "polite") for step in outcomes[name].time_line if step.others]
    return max(0.0, max(refused, default=end) - end)


def _priorities(stage: Stage) -> Iterator[list[str]]:
    urgent = Stream("interactive", stage.ask("polite"), 8)
    for title, others in (
        ("8 interactive callers alone", []),
        ("the same, beside 32 in the background", [Stream("background", stage.ask("noisy", Priority="u=6"), 32)]),
    ):
        outcomes = stage.play(STEP_S, [urgent, *others])
        background = f"{outcomes['background'].rate:,.0f}/s in the background" if others else ""
        yield [title, "", *figures(outcomes["interactive"]), "", "", background]

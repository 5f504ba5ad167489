"""A scoring run that has the machine for itself, against the in-process limit: what the rows and the reading cost."""

from dataclasses import replace
from statistics import median

from loadtest.bench.contenders import served_variant
from loadtest.bench.limit import LimitJob
from loadtest.bench.report import Sheet, spread_of
from loadtest.bench.scorer import Scorer
from loadtest.bench.speed import best_plan, measure_limit
from loadtest.bench.stage import Stage
from models.machine import usable_cpus

ROUNDS = 7
IMAGES = 15_000
LIMIT_S = 4.5


def throughput(stage: Stage) -> Sheet:
    """Runs and the limit in turns. What a run makes is held against the limit just before it and just after.

    Other load on the machine is not told apart, but falls on both.
    """
    card, variant = stage.stored.card, served_variant(stage.stored)
    job = LimitJob(stage.stored.folder / variant.file, card.input, [one.data for one in stage.known], usable_cpus())
    job = replace(job, plan=best_plan(job), seconds=LIMIT_S)
    copies = -(-IMAGES // len(stage.known))
    with Scorer(stage.server.url, card.name, stage.known, copies) as scorer:
        limits = [measure_limit(job).limit.rate]
        rates: list[float] = []
        for _ in range(ROUNDS):
            rates.append(scorer.run()["backends"][0]["images_per_second"])
            limits.append(measure_limit(job).limit.rate)
    shares = [2 * rate / (before + after) for rate, before, after in zip(rates, limits, limits[1:], strict=False)]
    rows = [
        ["in-process limit", f"{median(limits):,.0f}", spread_of(limits), ""],
        ["scoring run", f"{median(rates):,.0f}", spread_of(rates), f"{median(shares):.0%}"],
    ]
    images = copies * len(stage.known)
    note = f"Medians of {ROUNDS} runs over {images:,} images; of the limit, run by run: {min(shares):.0%} to {max(shares):.0%}."
    return Sheet(f"Scoring, {card.name}, {variant.precision}", ("throughput mode", "images/s", "range", "of limit"), rows, [note])

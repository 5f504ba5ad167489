"""Whether locust's figures are right: its median beside that of wrk, at the same rate, of the same images, in turn."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from loadtest import driver
from loadtest.bench import wrk
from loadtest.bench.jobs import Job, Stream
from loadtest.bench.processes import BenchError
from loadtest.bench.report import Sheet
from loadtest.bench.stage import Stage, ok
from loadtest.images import write_zip
from loadtest.plan import Plan
from loadtest.verdict import doubts

CONNECTIONS = 16
"""Of wrk; locust opens as many as are needed at a time."""


def clients(stage: Stage, rate: float, seconds: int, rounds: int, tell: Callable[[str], None]) -> Sheet:
    """Medians of rounds that take turns. Raises `BenchError` if a client did not do what it should."""
    name = stage.stored.card.name
    job = Job(stage.server.host, stage.server.port, seconds, [Stream("wrk", stage.ask(), CONNECTIONS)])
    rows: list[list[str]] = []
    ours, theirs = [], []
    with TemporaryDirectory(prefix="bench-") as folder:
        images = Path(folder) / "images.zip"
        write_zip(images, [one.data for one in stage.known])
        plan = Plan(rate=rate, seconds=seconds, mix={"classify": 1}, backend=name, images=str(images))
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds}")
            results = driver.run(stage.server.url, plan, name).results
            tally = results.kinds["classify"]
            if not tally.ok or tally.failed:
                raise BenchError(f"locust was not answered well: {tally.failures or 'no reply'}")
            p50, p99 = (tally.took.percentile(share) or 0.0 for share in (0.5, 0.99))
            ours.append(p50)
            doubt = "; ".join(doubts(plan, results))
            rows.append([f"locust {number}", f"{tally.ok / seconds:,.1f}", f"{p50:.2f}", f"{p99:.2f}", doubt or "none"])
            paced = wrk.run_at(job, rate)
            if paced.wrong or len(paced.statuses) != 1:
                raise BenchError(f"wrk was not answered well: {paced.wrong_sample or dict(paced.statuses)}")
            theirs.append(ok(paced).p50)
            rows.append([f"wrk {number}", f"{paced.rate:,.1f}", f"{ok(paced).p50:.2f}", f"{ok(paced).p99:.2f}", ""])
    # Round by round, for a machine is faster in one than in another.
    ratio = median(our / their for our, their in zip(ours, theirs, strict=True))
    notes = [
        f"p50, locust to wrk in the same round: {ratio - 1:+.0%}, the median of {rounds} rounds.",
        "Both count from when a request goes out; locust from when it fell due, if no caller was free then.",
    ]
    return Sheet(
        f"Two clients at {rate:g} requests/s, {name}", ("client", "requests/s", "p50 ms", "p99 ms", "in doubt"), rows, notes
    )

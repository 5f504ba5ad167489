"""Callers of a backend at half load, alone and while a scoring run of the same backend goes on: what they notice of it."""

from loadtest.bench.beside import Beside
from loadtest.bench.jobs import Stream
from loadtest.bench.report import Sheet
from loadtest.bench.scorer import Scorer
from loadtest.bench.stage import Stage, figures, ok

LOAD = 0.5
PART_S = 20.0
COPIES = 75
"""How often a run scores each image: enough for the whole time beside callers who leave it some 200 images a second."""


class Runs(Beside):
    """One run after the other."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(0.0)
        self._scorer = scorer
        self.rows = 0

    def step(self) -> None:
        self.rows += int(self._scorer.run(self._over.is_set)["progress"]["done"])

    def told(self) -> str:
        return f"{self.rows:,} images were scored beside the callers"


def scoring(stage: Stage) -> Sheet:
    """Half of the capacity, alone, beside runs, and alone again."""
    load = LOAD * stage.capacity().rate
    stream = Stream("callers", stage.ask(), 64, rate=load)
    with Scorer(stage.server.url, stage.stored.card.name, stage.known, COPIES) as scorer:
        runs = Runs(scorer)
        stage.play(PART_S / 4, [stream])  # the first ones are slower, run or not
        quiet = stage.play(PART_S, [stream])["callers"]
        runs.start()
        busy = stage.play(PART_S, [stream])["callers"]
        runs.stop()
        after = stage.play(PART_S, [stream])["callers"]
    rows = [
        [title, *figures(outcome), f"{ok(outcome).p99 / ok(quiet).p99:.2f}"]
        for title, outcome in (("alone", quiet), ("beside a scoring run", busy), ("alone again", after))
    ]
    header = (f"{load:,.0f} requests/s", "requests/s", "p50 ms", "p99 ms", "not 200", "p99 to alone")
    notes = [f"{runs.told()} ({runs.rows / PART_S:,.0f}/s).", *runs.unforeseen]
    return Sheet(f"Beside a scoring run, {stage.stored.card.name}, {LOAD:.0%} of capacity", header, rows, notes)

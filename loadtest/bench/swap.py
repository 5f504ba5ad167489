"""A new version every two seconds and a corrupt one every five, under load: what callers notice of it."""

import json
from pathlib import Path

from loadtest.bench.deployer import Deployer
from loadtest.bench.jobs import Outcome, Stream
from loadtest.bench.processes import resident_mb, tree
from loadtest.bench.report import Sheet
from loadtest.bench.stage import Stage, figures, ok

LOAD = 0.7
QUIET_S, SWAP_S = 20.0, 60.0
EVERY_S, CORRUPT_EVERY_S = 2.0, 5.0


def swap(stage: Stage) -> Sheet:
    """Load at 70 % of capacity, alone, then while versions change."""
    capacity = stage.capacity().rate
    stream = Stream("callers", stage.ask(), 64, rate=LOAD * capacity)
    quiet = stage.play(QUIET_S, [stream])["callers"]
    pids = tree(stage.server.pid)
    deployer = Deployer(stage.store / stage.stored.card.name, stage.stored.card.version, EVERY_S, CORRUPT_EVERY_S)
    memory = [resident_mb(pids)]
    deployer.start()
    busy = stage.play(SWAP_S, [stream])["callers"]
    deployer.stop()
    memory.append(resident_mb(pids))
    loaded, refused = _logged(stage.server.log, "backend ready") - 1, _logged(stage.server.log, "version refused")
    rows = [
        ["quiet", *figures(quiet), "1.00", f"{memory[0]:.0f}"],
        ["versions change", *figures(busy), _ratio(busy, quiet), f"{memory[1]:.0f}"],
    ]
    title = f"Hot swap, {stage.stored.card.name}, {LOAD:.0%} of capacity"
    header = (title, "requests/s", "p50 ms", "p99 ms", "not 200", "p99 to quiet", "MB after")
    seen = f"{loaded} versions took over within {SWAP_S:g} s and {refused} corrupt ones were refused"
    notes = [f"{seen}, of {deployer.made} that were put into the store."]
    return Sheet(title, header, rows, notes)


def _ratio(busy: Outcome, quiet: Outcome) -> str:
    return f"{ok(busy).p99 / ok(quiet).p99:.2f}"


def _logged(log: Path, message: str) -> int:
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return sum(record.get("message") == message for record in records)

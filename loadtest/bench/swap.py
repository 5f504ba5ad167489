"""A new version every two seconds and a corrupt one every five, under load: what callers notice of it."""

import json
import os
import threading
import time
from pathlib import Path
from shutil import copytree, rmtree

from loadtest.bench.jobs import Outcome, Stream
from loadtest.bench.processes import resident_mb, tree
from loadtest.bench.report import Sheet
from loadtest.bench.stage import Stage, figures, ok
from models.metadata import CARD_FILE, read_card, write_card

LOAD = 0.7
QUIET_S, SWAP_S = 20.0, 60.0
EVERY_S, CORRUPT_EVERY_S = 2.0, 5.0
KEPT = 3
"""Versions left in the store: older ones are deleted, as whoever deploys would."""


def swap(stage: Stage) -> Sheet:
    """Load at 70 % of capacity, alone, then while versions change."""
    capacity = stage.capacity().rate
    stream = Stream("callers", stage.ask(), 64, rate=LOAD * capacity)
    quiet = stage.play(QUIET_S, [stream])["callers"]
    pids = tree(stage.server.pid)
    deployer = _Deployer(stage.store / stage.stored.card.name)
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


class _Deployer(threading.Thread):
    """Puts versions into a folder of the store, complete and by one rename each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._first = folder / "1"
        self._over = threading.Event()
        self.made = 0

    def run(self) -> None:
        began = time.monotonic()
        sound, corrupt = 1, 1
        while not self._over.wait(0.05):
            passed = time.monotonic() - began
            if passed >= sound * EVERY_S:
                sound += 1
                self._deploy(corrupt=False)
            if passed >= corrupt * CORRUPT_EVERY_S:
                corrupt += 1
                self._deploy(corrupt=True)

    def stop(self) -> None:
        """Make no more."""
        self._over.set()
        self.join()

    def _deploy(self, *, corrupt: bool) -> None:
        self.made += 1
        number = self.made + 1
        workspace = self._folder.parent / f".new-{number}" / str(number)
        copytree(self._first, workspace, copy_function=os.link)
        card = read_card(self._first).model_copy(update={"version": str(number)})
        (workspace / CARD_FILE).unlink()
        write_card(workspace, card)
        if corrupt:
            model = workspace / card.variants[0].file
            data = bytearray(model.read_bytes())
            data[len(data) // 2] ^= 1
            model.unlink()
            model.write_bytes(data)
        workspace.rename(self._folder / str(number))
        rmtree(workspace.parent)
        old = self._folder / str(number - KEPT)
        if number - KEPT > 1 and old.exists():
            rmtree(old)


def _ratio(busy: Outcome, quiet: Outcome) -> str:
    return f"{ok(busy).p99 / ok(quiet).p99:.2f}"


def _logged(log: Path, message: str) -> int:
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    return sum(record.get("message") == message for record in records)

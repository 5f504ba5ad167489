"""Callers of a backend at half load, alone and while a scoring run of the same backend goes on: what they notice of it."""

import io
import time
import zipfile
from collections.abc import Sequence

import httpx

from loadtest.asks import ENDED
from loadtest.bench.beside import Beside
from loadtest.bench.images import Known
from loadtest.bench.jobs import Stream
from loadtest.bench.processes import BenchError
from loadtest.bench.report import Sheet
from loadtest.bench.stage import Stage, figures, ok

LOAD = 0.5
PART_S = 20.0
COPIES = 75
"""How often a run scores each image: enough for the whole time beside callers who leave it some 200 images a second."""
LOOK_S = 0.2


class Runs(Beside):
    """One run after the other over a set that was sent before."""

    def __init__(self, url: str, backend: str, known: Sequence[Known]) -> None:
        super().__init__(0.0)
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in range(COPIES):
                for place, one in enumerate(known):
                    archive.writestr(f"{one.label}/{number}-{place}.jpg", one.data)
        first = self._client.post(
            "/v1/scorings", data={"backends": backend, "limit": "1"}, files={"dataset": ("bench.zip", buffer.getvalue())}
        ).raise_for_status()
        self._asked = {"dataset": first.json()["dataset"]["name"], "backends": [backend]}
        self._follow(first.json()["id"])
        self.rows = 0

    def stop(self) -> None:
        super().stop()
        self._client.close()

    def step(self) -> None:
        self.rows += self._follow(self._client.post("/v1/scorings", json=self._asked).raise_for_status().json()["id"])

    def told(self) -> str:
        return f"{self.rows:,} images were scored beside the callers"

    def _follow(self, job: str) -> int:
        """Wait for the end. Returns how many images have their row by then, or when this is told to stop."""
        while True:
            found = self._client.get(f"/v1/scorings/{job}").raise_for_status().json()
            if found["state"] in ENDED:
                if (found["state"], found["note"]) != ("succeeded", None):
                    raise BenchError(f"the run ended as {found['state']}: {found['note']}")
                return int(found["progress"]["done"])
            if self._over.is_set():
                self._client.delete(f"/v1/scorings/{job}").raise_for_status()
                return int(found["progress"]["done"])
            time.sleep(LOOK_S)


def scoring(stage: Stage) -> Sheet:
    """Half of the capacity, alone, beside runs, and alone again."""
    load = LOAD * stage.capacity().rate
    stream = Stream("callers", stage.ask(), 64, rate=load)
    runs = Runs(stage.server.url, stage.stored.card.name, stage.known)
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

"""Scoring jobs over small zips whose every number is known beforehand."""

import io
import json
import random
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import httpx

from loadtest.asks import ENDED
from loadtest.bench.beside import Beside
from loadtest.bench.images import Known
from loadtest.bench.processes import BenchError
from loadtest.bench.soak.kills import Kills
from loadtest.bench.soak.plan import Plan

IMAGES = 48
MISLABELLED = 4
"""One image in so many stands in a folder of another label."""
PATIENCE_S = 120.0
"""For a job's end, kills included."""
Answer = TypeVar("Answer")


class Scorer(Beside):
    """One job after the other, each followed to its end and checked row by row."""

    def __init__(self, url: str, backend: str, labels: Sequence[str], known: Sequence[Known], kills: Kills, plan: Plan) -> None:
        super().__init__(plan.score_s)
        self._url = url
        self._backend = backend
        self._labels = labels
        self._known = known
        self._kills = kills
        self._chance = random.Random(plan.seed)  # noqa: S311  # no secret
        self._jobs = 0
        self._rows = 0
        self._resumed = 0

    def step(self) -> None:
        files = self._files()
        with httpx.Client(base_url=self._url, trust_env=False, timeout=PATIENCE_S) as client:
            job = self._hand_in(client, files)
            limit = time.monotonic() + PATIENCE_S
            while (found := self._get(client, job))["state"] not in ENDED:
                if time.monotonic() > limit:
                    raise BenchError(f"job {job} has not ended within {PATIENCE_S:.0f} s: {found['progress']}")
                time.sleep(0.2)
            lines = self._insist(lambda: client.get(f"/v1/scorings/{job}/predictions")).text.splitlines()
            events = self._insist(lambda: client.get(f"/v1/scorings/{job}/events")).text
        self._jobs += 1
        self._rows += len(lines)
        self._resumed += events.count("event: resumed\n")
        self.unforeseen += [f"job {job}: {what}" for what in differences(found, [json.loads(line) for line in lines], files)]

    def told(self) -> str:
        resumed = f", {self._resumed} times resumed after a kill" if self._resumed else ""
        return f"Scoring: {self._jobs} jobs ended with {self._rows:,} rows{resumed}; every row and accuracy was checked."

    def _files(self) -> dict[str, Known]:
        """Paths in the zip, by their folders' labels, and what the model says of the image there."""
        files = {}
        for number, one in enumerate(self._chance.choices(self._known, k=IMAGES)):
            others = [label for label in self._labels if label != one.label]
            label = one.label if number % MISLABELLED else self._chance.choice(others)
            files[f"{label}/{number}.jpg"] = one
        return files

    def _hand_in(self, client: httpx.Client, files: dict[str, Known]) -> str:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, one in files.items():
                archive.writestr(path, one.data)
        key = {"Idempotency-Key": f"soak-{self._jobs}-{self._chance.random()}"}  # sent again it makes no second job
        form = {"backends": self._backend}
        zipped = {"dataset": ("soak.zip", buffer.getvalue())}
        reply = self._insist(lambda: client.post("/v1/scorings", data=form, files=zipped, headers=key))
        return str(reply.json()["id"])

    def _get(self, client: httpx.Client, job: str) -> dict[str, Any]:
        found: dict[str, Any] = self._insist(lambda: client.get(f"/v1/scorings/{job}")).json()
        return found

    def _insist(self, ask: Callable[[], httpx.Response]) -> httpx.Response:
        """Ask again if the connection breaks with a killed worker. Raises `httpx.HTTPError`."""
        while True:
            try:
                return ask().raise_for_status()
            except httpx.TransportError:
                if not self._kills.excuse(time.monotonic()):
                    raise
                time.sleep(0.05)


def differences(job: dict[str, Any], rows: Sequence[dict[str, Any]], files: dict[str, Known]) -> list[str]:
    """What a finished job says otherwise than it must: a row for each file, the model's own label in it, and their sum."""
    found = []
    if (job["state"], job["note"]) != ("succeeded", None):
        found.append(f"it ended as {job['state']}: {job['note']}")
    if sorted(row["image"] for row in rows) != sorted(files):
        found.append(f"{len(rows)} rows for {len(files)} images")
    wrong = [row for row in rows if row["image"] in files and row["predicted"] != files[row["image"]].label]
    if wrong:
        found.append(f"{len(wrong)} rows are wrong, as {wrong[0]}")
    right = sum(path.partition("/")[0] == one.label for path, one in files.items())
    accuracy = job["backends"][0]["accuracy"]
    if accuracy is None or abs(accuracy - right / len(files)) > 1e-9:
        found.append(f"the accuracy is {accuracy} instead of {right}/{len(files)}")
    return found

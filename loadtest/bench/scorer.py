"""Asks a service for scoring runs, one after the other, over a set that it was sent before."""

import io
import time
import zipfile
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from loadtest.asks import ENDED
from loadtest.bench.images import Known
from loadtest.bench.processes import BenchError

LOOK_S = 0.2


class Scorer:
    """Ends with its block."""

    def __init__(self, url: str, backend: str, known: Sequence[Known], copies: int) -> None:
        """Send `copies` of the images, and see one of them scored. Raises `BenchError` if it was not."""
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=60)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in range(copies):
                for place, one in enumerate(known):
                    archive.writestr(f"{one.label}/{number}-{place}.jpg", one.data)
        first = self._client.post(
            "/v1/scorings", data={"backends": backend, "limit": "1"}, files={"dataset": ("bench.zip", buffer.getvalue())}
        ).raise_for_status()
        self._asked = {"dataset": first.json()["dataset"]["name"], "backends": [backend]}
        self._follow(first.json()["id"], lambda: False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _exc: BaseException | None, _trace: TracebackType | None) -> None:
        self._client.close()

    def run(self, over: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """One run over all images. Returns the job as it is at its end, or as it was when `over` said so, which cancels it.

        Raises `BenchError` if it ended otherwise than it should.
        """
        job = self._client.post("/v1/scorings", json=self._asked).raise_for_status().json()
        return self._follow(job["id"], over)

    def _follow(self, job: str, over: Callable[[], bool]) -> dict[str, Any]:
        while True:
            found: dict[str, Any] = self._client.get(f"/v1/scorings/{job}").raise_for_status().json()
            if found["state"] in ENDED:
                if (found["state"], found["note"]) != ("succeeded", None):
                    raise BenchError(f"the run ended as {found['state']}: {found['note']}")
                return found
            if over():
                self._client.delete(f"/v1/scorings/{job}").raise_for_status()
                return found
            time.sleep(LOOK_S)

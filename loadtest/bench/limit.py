"""The in-process limit: decoding and inference on this machine's processors, with no HTTP and nobody waiting.

`python -m loadtest.bench.limit` reads a `LimitJob` on its standard input. Without a plan it searches for the best one and ends
with `{"event": "result", "plan": {...}}`; with one it measures it, says `measuring` and `measured` as the generator does, and
ends with a `Limit`.
"""

import base64
import json
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from loadtest.bench.jobs import percentile
from loadtest.bench.plans import search
from models import imaging
from models.metadata import InputSpec
from models.runtime import OnnxModel
from service.tuning import Plan

LOOK_S = 0.3
"""How long the search runs each plan."""
WARM_UP_S = 0.2
ALONE_SHARE = 1 / 3
"""Of the measured time goes to one image at a time."""


@dataclass(frozen=True)
class LimitJob:
    """What to run: an ONNX file, its input, encoded images."""

    model: Path
    spec: InputSpec
    images: Sequence[bytes]
    cpus: int
    plan: Plan | None = None
    """None: search."""
    seconds: float = 0

    def to_json(self) -> str:
        """For the standard input."""
        values = {
            "model": str(self.model),
            "spec": self.spec.model_dump(),
            "images": [base64.b64encode(image).decode() for image in self.images],
            "cpus": self.cpus,
            "plan": asdict(self.plan) if self.plan else None,
            "seconds": self.seconds,
        }
        return json.dumps(values)

    @staticmethod
    def from_json(text: str) -> "LimitJob":
        """What `to_json` wrote."""
        values = json.loads(text)
        return LimitJob(
            model=Path(values["model"]),
            spec=InputSpec(**values["spec"]),
            images=[base64.b64decode(image) for image in values["images"]],
            cpus=values["cpus"],
            plan=Plan(**values["plan"]) if values["plan"] else None,
            seconds=values["seconds"],
        )


@dataclass(frozen=True)
class Limit:
    """What a plan gives. Milliseconds are medians of one image at a time, on one thread that calls."""

    rate: float
    """Images a second, all lanes together."""
    cpu_us: float
    """Processor time of an image."""
    decode_ms: float
    infer_ms: float
    both_ms: float


class Bench:
    """Images and the sessions that run them, one for each number of threads."""

    def __init__(self, job: LimitJob) -> None:
        self._images = job.images
        self._spec = job.spec
        self._model = cache(lambda threads: OnnxModel(job.model, threads=threads))

    def rate(self, plan: Plan, seconds: float) -> float:
        """Images a second."""
        model = self._model(plan.threads)
        ready = threading.Barrier(plan.lanes + 1)

        def lane(number: int) -> tuple[int, float]:
            ready.wait()
            until = time.perf_counter() + seconds
            place = number * len(self._images) // plan.lanes
            done = 0
            while time.perf_counter() < until:
                pixels = [self._load(place + done + offset) for offset in range(plan.batch_size)]
                model.run(pixels[0][None] if plan.batch_size == 1 else np.stack(pixels))
                done += plan.batch_size
            return done, time.perf_counter()

        with ThreadPoolExecutor(plan.lanes) as pool:
            lanes = [pool.submit(lane, number) for number in range(plan.lanes)]
            ready.wait()
            started = time.perf_counter()
            results = [found.result() for found in lanes]
        return sum(done for done, _ in results) / (max(ended for _, ended in results) - started)

    def alone(self, threads: int, seconds: float) -> tuple[float, float, float]:
        """Medians in ms of decoding, inference and both, one image at a time."""
        model = self._model(threads)
        decode: list[float] = []
        infer: list[float] = []
        both: list[float] = []
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until or not both:
            pixels = self._load(len(both))
            between = time.perf_counter()
            model.run(pixels[None])
            ended = time.perf_counter()
            decode.append(between - started)
            infer.append(ended - between)
            both.append(ended - started)
        first, second, third = (1000 * percentile(sorted(values), 0.5) for values in (decode, infer, both))
        return first, second, third

    def _load(self, number: int) -> imaging.Pixels:
        return imaging.load(self._images[number % len(self._images)], self._spec)


def main() -> None:
    """Read a job, run it, write what came of it."""
    job = LimitJob.from_json(sys.stdin.read())
    bench = Bench(job)

    def say(event: str, **more: object) -> None:
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()

    if job.plan is None:
        found = search(job.cpus, lambda plan: bench.rate(plan, LOOK_S))
        say("result", plan=asdict(found))
        return
    bench.rate(job.plan, WARM_UP_S)
    say("measuring")
    spent = time.process_time()
    seconds = job.seconds * (1 - ALONE_SHARE)
    started = time.perf_counter()
    rate = bench.rate(job.plan, seconds)
    images = rate * (time.perf_counter() - started)
    cpu_us = 1e6 * (time.process_time() - spent) / images
    decode_ms, infer_ms, both_ms = bench.alone(job.plan.threads, job.seconds * ALONE_SHARE)
    say("measured")
    say("result", **asdict(Limit(rate, cpu_us, decode_ms, infer_ms, both_ms)))


if __name__ == "__main__":
    main()

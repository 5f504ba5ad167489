"""How fast variants are, side by side on this machine."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from models import imaging
from models.machine import usable_cpus
from models.metadata import InputSpec, Precision
from models.runtime import OnnxModel

BATCH = 8
ROUNDS = 9
SECONDS = 0.4


def images_per_second(
    models: Mapping[Precision, OnnxModel], image: bytes, spec: InputSpec, *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> dict[Precision, float]:
    """Median speed of each model, which has one thread, decoding and classifying an encoded image on every core.

    They take turns in each of the `rounds`, so that what else happens on the machine hits all of them.
    """
    speeds: dict[Precision, list[float]] = {precision: [] for precision in models}
    cores = usable_cpus()
    with ThreadPoolExecutor(cores) as pool:
        for number in range(rounds + 1):
            for precision, model in models.items():
                began = time.perf_counter()
                done = sum(pool.map(_work, [model] * cores, [image] * cores, [spec] * cores, [began + seconds] * cores))
                if number:  # the first round warms up
                    speeds[precision].append(done / (time.perf_counter() - began))
    return {precision: median(found) for precision, found in speeds.items()}


def _work(model: OnnxModel, image: bytes, spec: InputSpec, until: float) -> int:
    """Images that one core does in the time: at least a batch."""
    done = 0
    while not done or time.perf_counter() < until:
        model.run(np.stack([imaging.load(image, spec) for _ in range(BATCH)]))
        done += BATCH
    return done

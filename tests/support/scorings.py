"""Rows of scoring runs: by hand, and generated ones that look like the article's."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.scoring.facts import BackendFacts, RunFacts, Training

SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
LOOKALIKES = {"buildings": "street", "street": "buildings", "glacier": "mountain", "mountain": "glacier", "sea": "glacier", "forest": "mountain"}  # fmt: skip


class Noted(NamedTuple):
    """What a runner notes of an image and a backend."""

    image: str
    label: str | None
    backend: str
    version: str = "1"
    precision: str = "fp32"
    predicted: str | None = None
    probability: float | None = None
    scores: npt.NDArray[np.float32] | None = None
    queue_ms: float | None = None
    decode_ms: float | None = None
    infer_ms: float | None = None
    total_ms: float | None = None
    error: str | None = None


def facts(name: str, labels: Sequence[str] = SCENES, **more: object) -> BackendFacts:
    given = {"kind": "onnx", "version": "1", "precision": "fp32", "provider": "CPUExecutionProvider", **more}
    return BackendFacts.model_validate({"name": name, "labels": tuple(labels), **given})


def run_of(images: int, **more: object) -> RunFacts:
    return RunFacts.model_validate({"dataset": "a set", "images": images, "mode": "latency", "concurrency": 1, **more})


def answered(image: str, label: str | None, backend: str, scores: Mapping[str, float], total_ms: float = 4.0) -> Noted:
    """A row with all scores, in the order given: a quarter of the time in the queue, a quarter decoding."""
    best = max(scores, key=lambda name: scores[name])
    quarter = total_ms / 4
    values = np.array(list(scores.values()), dtype=np.float32)
    return Noted(
        image, label, backend, predicted=best, probability=float(values.max()), scores=values,
        queue_ms=quarter, decode_ms=quarter, infer_ms=2 * quarter, total_ms=total_ms,
    )  # fmt: skip


def failed(image: str, label: str | None, backend: str, error: str = "invalid-image") -> Noted:
    return Noted(image, label, backend, error=error)


class Way(NamedTuple):
    """A backend as the generator makes it up."""

    facts: BackendFacts
    accuracy: float
    sureness: float
    """Of its scores: more than 1 is too sure."""
    infer_ms: float
    queue_ms: float = 0.1
    fails: float = 0.0


WAYS = (
    Way(facts("automl", precision="int8", version="3", seconds=30, usd_per_hour=0.096, training=Training(recipe="automl", minutes=168, usd=0.27)), 0.937, 1.1, 18.0),
    Way(facts("cnn", version="2", seconds=2.4, usd_per_hour=0.096, training=Training(recipe="cnn", minutes=47.3, usd=0.0757)), 0.877, 1.9, 0.7),
    Way(
        facts(
            "custom_vision", kind="custom_vision", version="production", precision="remote", provider="westeurope.example", seconds=130,
            usd_per_call=0.002, training=Training(recipe="custom_vision", minutes=240, usd=40),
        ), 0.945, 0.7, 68.0, 9.0, 0.004,
    ),
    Way(facts("transfer", precision="int8", version="4", seconds=13, usd_per_hour=0.096, training=Training(recipe="transfer", minutes=35, usd=0.056)), 0.931, 1.0, 7.9),
)  # fmt: skip


def generated(images: int, ways: Sequence[Way] = WAYS, seed: int = 1, labelled: bool = True) -> Iterator[Noted]:
    """Rows of backends that find the same images hard, mistake look-alikes for each other, and agree on a few wrong labels."""
    random = np.random.default_rng(seed)
    for number in range(images):
        true = SCENES[number % len(SCENES)]
        hard, mislabelled = random.uniform(), random.uniform() < 0.02
        said = LOOKALIKES[true] if mislabelled else true
        for way in ways:
            luck = 0.75 * hard + 0.25 * random.uniform()
            edge = _quantile(way.accuracy)
            other = LOOKALIKES[true] if random.uniform() < 0.8 else str(random.choice(SCENES))
            named = true if luck < edge else other
            margin = abs(luck - edge) * 12 * way.sureness + 0.3
            logits = {label: float(random.normal(0, 0.4)) for label in way.facts.labels}
            logits[named] = max(logits.values()) + margin
            powers = np.exp(np.array(list(logits.values())))
            image = f"{said}/{20000 + number}.jpg"
            if random.uniform() < way.fails:
                yield failed(image, said if labelled else None, way.facts.name, "backend-timeout")
                continue
            infer = way.infer_ms * float(random.lognormal(0, 0.15)) * (3 if random.uniform() < 0.01 else 1)
            queue, decode = way.queue_ms * float(random.lognormal(0, 0.5)), 0.12 * float(random.lognormal(0, 0.1))
            probabilities = dict(zip(logits, (powers / powers.sum()).tolist(), strict=True))
            yield answered(image, said if labelled else None, way.facts.name, probabilities)._replace(
                version=way.facts.version, precision=way.facts.precision, queue_ms=queue, decode_ms=decode, infer_ms=infer,
                total_ms=queue + decode + infer,
            )  # fmt: skip


def _quantile(share: float) -> float:
    """Of 0.75 u + 0.25 v, u and v uniform: below it lie so many. Right for shares above 5/6."""
    return 1 - float(np.sqrt(2 * 0.75 * 0.25 * (1 - share)))


def intel_run(images: int) -> RunFacts:
    return run_of(
        images, dataset="intel-test-public.zip", sha256="fabf779f" * 8, machine="Intel Xeon, 2 cores", seed=1,
        started=datetime(2026, 11, 24, 15, 0, tzinfo=UTC), finished=datetime(2026, 11, 24, 15, 3, tzinfo=UTC),
    )  # fmt: skip

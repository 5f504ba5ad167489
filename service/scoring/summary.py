"""A job's rows to its results: `models.scoring` judges; this says what it needs to know of the backends and of the run."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from models import machine, prices
from models.errors import ModelError
from models.repository import Repository
from models.scoring.facts import BackendFacts, RunFacts, Training, training_of
from models.scoring.measure import measure
from models.scoring.results import Scoring
from service.domain import Identity
from service.registry import Registry
from service.scoring.jobs import Job, Progress
from service.scoring.rows import Row


class Summary:
    """Judges jobs. Calling it blocks for some seconds: scikit-learn is loaded, and every row looked at."""

    def __init__(self, repository: Repository, registry: Registry, cpus: int, where: str | None = None) -> None:
        """`cpus`: what an hour of this service takes of a machine. `where`: what machine that is; None: this one."""
        self._repository = repository
        self._registry = registry
        self._cpus = cpus
        self._where = where or f"{machine.processor()}, {cpus} cores"

    def __call__(self, job: Job, rows: Sequence[Row]) -> Scoring:
        """What a job found out, by the rows that it has."""
        words = _words(job.options.label_map)
        return measure(rows, [self._facts(one, words) for one in job.backends], self._run(job))

    def _run(self, job: Job) -> RunFacts:
        return RunFacts(
            dataset=str(job.dataset["name"]),
            sha256=job.dataset.get("sha256"),
            images=int(job.dataset["images"]),
            mode=job.options.mode,
            concurrency=1 if job.options.mode == "latency" else job.options.concurrency,
            state=job.state,
            reason=job.note,
            machine=self._where,
            started=None if job.began is None else datetime.fromtimestamp(job.began, UTC),
            finished=None if job.ended is None else datetime.fromtimestamp(job.ended, UTC),
            seed=job.options.seed,
        )

    def _facts(self, progress: Progress, words: dict[str, str]) -> BackendFacts:
        pinned = progress.pinned
        served = next((one.backend for one in self._registry.running if one.identity.name == pinned.name), None)
        tally = served.tally if served is not None else None
        here = pinned.provider == "CPUExecutionProvider"
        return BackendFacts(
            name=pinned.name,
            kind=pinned.kind,
            version=pinned.version,
            precision=pinned.precision,
            provider=pinned.provider,
            labels=pinned.labels,
            words={label: words[label] for label in pinned.labels if label in words},
            seconds=progress.seconds or None,
            usd_per_hour=prices.usd_per_hour(self._cpus) if here else None,
            usd_per_call=(tally.usd_per_call or prices.usd_per_call(pinned.kind)) if tally is not None else None,
            training=self._training(pinned),
        )

    def _training(self, pinned: Identity) -> Training | None:
        with suppress(ModelError):
            return training_of(self._repository.get(pinned.name, pinned.version).card)
        return None


def _words(label_map: dict[str, str]) -> dict[str, str]:
    """What the set calls a backend's label; where several of its classes are one label, the label keeps its own name."""
    often = Counter(label_map.values())
    return {label: folder for folder, label in label_map.items() if often[label] == 1}

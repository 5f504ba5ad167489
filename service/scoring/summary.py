"""A job's rows to its results: `models.scoring` judges; this says what it needs to know of the backends and of the run."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeAlias

from models import machine
from models.errors import ModelError
from models.prices import Price
from models.repository import Repository
from models.scoring.facts import BackendFacts, RunFacts, Terms, Training, training_of
from models.scoring.measure import measure
from models.scoring.results import Scoring
from service.domain import Identity
from service.pricing import Pricing
from service.registry import Registry
from service.scoring.jobs import Job, Progress
from service.scoring.library import UPLOADED
from service.scoring.rows import Row
from service.tuning import CUDA_PROVIDER

Judge: TypeAlias = Callable[[Sequence[Row], Sequence[BackendFacts], RunFacts], Scoring]


class Summary:
    """Judges jobs. Calling it blocks for some seconds: scikit-learn is loaded, and every row looked at."""

    def __init__(
        self,
        repository: Repository,
        registry: Registry,
        cpus: int,
        usd_per_hour: float | None = None,
        where: str | None = None,
        machines: int = 1,
        judge: Judge = measure,
    ) -> None:
        """`cpus`: what an hour of this service takes of a machine. `usd_per_hour`: what that costs, whatever the list says.

        `where`: in words, the machines that work; None: this one does. `machines`: how many they are, each at that price.
        `judge`: does the mathematics.
        """
        self._repository = repository
        self._registry = registry
        self._cpus = cpus
        self._pricing = Pricing(cpus, usd_per_hour, machines)
        self._where = where
        self._judge = judge

    def __call__(self, job: Job, rows: Sequence[Row]) -> Scoring:
        """What a job found out, by its rows and by what was noted of it: the same whenever, and wherever, this is asked."""
        words = _words(job.options.label_map)
        return self._judge(rows, [_facts(one, words) for one in job.backends], _run(job))

    def machine(self, job: Job) -> str:
        """In words, what works on a job. Blocks."""
        if self._where is not None:
            return self._where
        on_gpu = any(one.pinned.provider == CUDA_PROVIDER for one in job.backends)
        parts = [machine.processor(), f"{self._cpus} cores", machine.gpu() if on_gpu else None]
        return ", ".join(part for part in parts if part)

    def terms(self, pinned: Identity) -> Terms:
        """What is to be noted of a backend before its images are sent. Blocks."""
        hour, call = self._pricing.hour(pinned), self._call(pinned)
        return Terms(
            usd_per_hour=hour.usd if hour else None,
            usd_per_call=call.usd if call else None,
            price_source=call.source if call else hour.source if hour else None,
            training=self._training(pinned),
        )

    def _call(self, pinned: Identity) -> Price | None:
        served = next((one.backend for one in self._registry.running if one.identity.name == pinned.name), None)
        return None if served is None else self._pricing.call(pinned, served.tally)

    def _training(self, pinned: Identity) -> Training | None:
        with suppress(ModelError):
            return training_of(self._repository.get(pinned.name, pinned.version).card)
        return None


def _run(job: Job) -> RunFacts:
    name = str(job.dataset["name"])
    uploaded = UPLOADED.fullmatch(name)
    return RunFacts(
        dataset=job.options.title or (f"an uploaded zip ({uploaded[1][:8]})" if uploaded else name),
        sha256=None if uploaded is None else uploaded[1],
        images=int(job.dataset["images"]),
        mode=job.options.mode,
        concurrency=1 if job.options.mode == "latency" else job.options.concurrency,
        state=job.state,
        reason=job.note,
        machine=job.machine,
        started=None if job.began is None else datetime.fromtimestamp(job.began, UTC),
        finished=None if job.ended is None else datetime.fromtimestamp(job.ended, UTC),
        seed=job.options.seed,
    )


def _facts(progress: Progress, words: dict[str, str]) -> BackendFacts:
    pinned = progress.pinned
    return BackendFacts(
        name=pinned.name,
        kind=pinned.kind,
        version=pinned.version,
        precision=pinned.precision,
        provider=pinned.provider,
        labels=pinned.labels,
        words={label: words[label] for label in pinned.labels if label in words},
        seconds=progress.seconds or None,
        **dict(progress.terms),
    )


def _words(label_map: dict[str, str]) -> dict[str, str]:
    """What the set calls a backend's label; where several of its classes are one label, the label keeps its own name."""
    often = Counter(label_map.values())
    return {label: folder for folder, label in label_map.items() if often[label] == 1}

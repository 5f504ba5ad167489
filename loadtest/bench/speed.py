"""The comparison: the in-process limit, Parallax, a tutorial's server and the floor, in rounds that take turns."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from loadtest.bench.contenders import (
    FLOOR,
    PARALLAX,
    PLAIN,
    Contender,
    ask_floor,
    ask_parallax,
    ask_plain,
    copy_version,
    floor,
    known_of,
    parallax,
    plain,
    served_variant,
)
from loadtest.bench.images import Known, Pictures
from loadtest.bench.jobs import Job, Stream
from loadtest.bench.limit import Limit, LimitJob
from loadtest.bench.measure import Disturbances, Measured, Watched, measure, watch
from loadtest.bench.noise import Noise
from loadtest.bench.processes import Child
from models.repository import StoredModel
from service.tuning import Plan

LIMIT = "loadtest.bench.limit"
WARM_UP_S = 0.7
OVERHEAD_S = 0.5
"""Of a round beside measuring: a process starts, connections open, the last replies come in."""


@dataclass(frozen=True)
class Options:
    """How long and how often."""

    seconds: float
    rounds: int
    concurrency: Sequence[int]
    cpus: int


@dataclass(frozen=True)
class LimitMeasured:
    """One round of the limit."""

    limit: Limit
    watched: Watched

    @property
    def noise(self) -> Noise:
        """Of others."""
        return self.watched.noise


@dataclass
class Comparison:
    """All rounds of one backend."""

    backend: str
    precision: str
    pictures: str
    plan: Plan
    limits: list[LimitMeasured] = field(default_factory=list)
    rounds: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)
    """By server and number of connections."""


@dataclass(frozen=True)
class Progress:
    """How far a run is; both are called on the thread that measures."""

    say: Callable[[str], None]
    """What is being done now."""
    advance: Callable[[float], None]
    """So many of the seconds that `seconds_needed` foretold are over."""


def seconds_needed(options: Options, backends: int) -> float:
    """How long all rounds take if nothing disturbs them; starting and tuning come on top."""
    loads = 3 * len(options.concurrency) * (options.seconds + WARM_UP_S + OVERHEAD_S)
    return backends * options.rounds * (loads + options.seconds + OVERHEAD_S)


def compare(
    stored: StoredModel, pictures: Pictures, options: Options, disturbances: Disturbances, progress: Progress
) -> Comparison:
    """Measure one backend. Raises `BenchError` if a server does not start, or answers wrongly."""
    card, variant = stored.card, served_variant(stored)
    file = stored.folder / variant.file
    known = known_of(stored, pictures.files)
    job = LimitJob(file, card.input, [one.data for one in known], options.cpus)
    progress.say(f"{card.name}: searching the best plan in process")
    comparison = Comparison(card.name, variant.precision, f"{pictures.kind}, {len(known)} used", best_plan(job))
    with ExitStack() as stack:
        progress.say(f"{card.name}: starting the servers")
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        contenders = list(_start(stored, known, folder, stack))
        for number in range(options.rounds):
            progress.say(f"{card.name}: round {number + 1} of {options.rounds}, limit")
            limited = LimitJob(job.model, job.spec, job.images, job.cpus, comparison.plan, options.seconds)
            comparison.limits.append(disturbances.quietly(partial(measure_limit, limited)))
            progress.advance(options.seconds + OVERHEAD_S)
            turn = number % len(contenders)
            for connections in options.concurrency:
                for contender in contenders[turn:] + contenders[:turn]:  # nobody is always the one after the same other
                    progress.say(f"{card.name}: round {number + 1} of {options.rounds}, {contender.name} at {connections}")
                    load = load_of(contender, connections, options.seconds)
                    measured = disturbances.quietly(partial(measure, contender.server, load))
                    comparison.rounds.setdefault((contender.name, connections), []).append(measured)
                    progress.advance(options.seconds + WARM_UP_S + OVERHEAD_S)
    return comparison


def _start(stored: StoredModel, known: Sequence[Known], folder: Path, stack: ExitStack) -> Iterator[Contender]:
    name = stored.card.name
    store = copy_version(stored, folder / "store")
    service = stack.enter_context(parallax(store, folder / "parallax"))
    yield Contender(PARALLAX, service, ask_parallax(name, known))
    yield Contender(PLAIN, stack.enter_context(plain(stored, folder / "plain")), ask_plain(known))
    yield Contender(FLOOR, stack.enter_context(floor(folder / "floor")), ask_floor(known))


def load_of(contender: Contender, connections: int, seconds: float) -> Job:
    """A closed loop on so many connections, which is warm before it counts."""
    server = contender.server
    stream = Stream(contender.name, contender.requests, connections)
    return Job(server.host, server.port, seconds, [stream], warm_up_s=WARM_UP_S)


def best_plan(job: LimitJob) -> Plan:
    """The fastest in process, in a process of its own. Raises `BenchError`."""
    with Child(LIMIT, job.to_json()) as child:
        return Plan(**child.wait_for("result")["plan"])


def measure_limit(job: LimitJob) -> LimitMeasured:
    """One round, in a process of its own. `job` has a plan. Raises `BenchError`."""
    with Child(LIMIT, job.to_json()) as child:
        watched = watch(child, [child.pid])
        values = child.wait_for("result")
    return LimitMeasured(Limit(**{name: values[name] for name in values if name != "event"}), watched)

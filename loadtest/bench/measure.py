"""One measurement: load on a server, with what server and machine did meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from loadtest.bench.jobs import Job, Outcome
from loadtest.bench.noise import Noise, noise_between, read_clocks
from loadtest.bench.processes import BenchError, Child, Server, cpu_seconds, forget_peak, peak_memory_mb, tree

GENERATOR = "loadtest.bench.generator"
ATTEMPTS = 3
"""How often a round is measured at most, until nothing spoils it."""


@dataclass(frozen=True)
class Watched:
    """What was seen of a measured time from outside."""

    noise: Noise
    cpu_s: float
    """Processor time of what was measured: a server and its workers, not the generator."""
    peak_mb: float
    """Resident memory at its highest, the same processes."""


@dataclass(frozen=True)
class Measured:
    """What the generator and the machine say of one run."""

    outcomes: Sequence[Outcome]
    watched: Watched

    @property
    def noise(self) -> Noise:
        """Of others."""
        return self.watched.noise

    @property
    def cpu_us(self) -> float:
        """Processor time of the server for each request that it answered."""
        return 1e6 * self.watched.cpu_s / max(1, sum(outcome.answered for outcome in self.outcomes))


def watch(child: Child, pids: Sequence[int], own: Sequence[int] = ()) -> Watched:
    """Look at the clocks when a child says `measuring` and `measured`; `own` are processes of ours beside `pids`."""
    forget_peak(pids)
    child.wait_for("measuring")
    before, spent, helped = read_clocks(), cpu_seconds(pids), cpu_seconds(own)
    child.wait_for("measured")
    after, spent, helped = read_clocks(), cpu_seconds(pids) - spent, cpu_seconds(own) - helped
    return Watched(noise_between(before, after, spent + helped), spent, peak_memory_mb(pids))


def measure(server: Server, job: Job) -> Measured:
    """Run a job against a server. Raises `BenchError` if a reply was wrong or none was 200: its speed is of no interest."""
    with Child(GENERATOR, job.to_json()) as child:
        watched = watch(child, tree(server.pid), [child.pid])
        outcomes = [Outcome.from_values(values) for values in child.wait_for("result")["outcomes"]]
    wrong = next((outcome for outcome in outcomes if outcome.wrong), None)
    if wrong:
        raise BenchError(f"{server.name} gave {wrong.wrong} wrong replies to {wrong.name!r}; the first: {wrong.wrong_sample}")
    dumb = next((outcome for outcome in outcomes if not outcome.ok), None)
    if dumb:
        said = dumb.other_sample or f"errors: {dict(dumb.errors)}"
        raise server.fail(f"never answered {dumb.name!r} with 200 ({said})")
    return Measured(outcomes, watched)


class Noisy(Protocol):
    """A result that knows whether it was disturbed."""

    @property
    def noise(self) -> Noise:
        """Of others, while it was measured."""


Result = TypeVar("Result", bound=Noisy)


@dataclass
class Disturbances:
    """Measures again what others disturbed, and counts."""

    measured: int = 0
    spoiled: int = 0
    """Of them; measured again, unless it was the last attempt."""
    kept: int = 0
    """Spoiled, and used all the same because no attempt was quiet."""

    def quietly(self, run: Callable[[], Result], attempts: int = ATTEMPTS) -> Result:
        """The first undisturbed result of `run`, else the least disturbed of all attempts."""
        tried: list[Result] = []
        for _ in range(attempts):
            tried.append(run())
            self.measured += 1
            if not tried[-1].noise.spoils:
                return tried[-1]
            self.spoiled += 1
        self.kept += 1
        return min(tried, key=lambda result: result.noise.others + result.noise.stolen)

"""The plan of a backend on this machine (images in a batch, lanes side by side, threads for each): which to try and take."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import TypeAlias, TypeVar

Way = TypeVar("Way")

CUDA_PROVIDER = "CUDAExecutionProvider"
CUDA_BATCHES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that a CUDA session sees: others are padded to the next, so that its arena and its kernels settle."""

CPU_BATCHES = (1, 2, 4, 8, 16)

HANDOVER = 8
"""Images that a lane on a CPU takes at a time, batch after batch, if they are quick: they share a turn of the event loop and the
waking of a thread (docs/decisions/speed.md)."""

BACKGROUND_HANDOVER = 32
"""The same of background work while nobody else is there."""

HANDOVER_S = 0.025
"""As many images are handed over as are inferred in this: whoever is done must not wait long for the others."""

WORTH = 0.15
"""How much faster a plan must be than the default, or than one with smaller batches. Less is noise, or bought with waiting."""

LOOKS = 3
"""How often a plan is held against the default before it takes its place."""


@dataclass(frozen=True, slots=True, order=True)
class Plan:
    """`lanes` batches of up to `batch_size` images run side by side, each on `threads` threads."""

    batch_size: int
    lanes: int
    threads: int

    def handover(self, provider: str, seconds: float, most: int = HANDOVER) -> int:
        """Images that a lane takes at a time, `most` of quick ones, where one takes `seconds`: whole batches, one or more."""
        if provider == CUDA_PROVIDER:
            return self.batch_size
        images = most if seconds * most <= HANDOVER_S else int(HANDOVER_S / seconds)
        return self.batch_size * max(1, images // self.batch_size)


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the settings leave no choice about."""

    batch_size: int | None = None
    lanes: int | None = None
    threads: int | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left to measure."""
        return None not in (self.batch_size, self.lanes, self.threads)

    @property
    def words(self) -> list[str]:
        """What is fixed, as `threads=2`: a plan that was measured so is not the best of all."""
        return [f"{name}={value}" for name, value in asdict(self).items() if value is not None]

    def apply(self, plan: Plan) -> Plan:
        """The plan with what is fixed."""
        return Plan(self.batch_size or plan.batch_size, self.lanes or plan.lanes, self.threads or plan.threads)


@dataclass(frozen=True, slots=True)
class Measured:
    """A plan with its speed."""

    plan: Plan
    images_per_second: float


Measure: TypeAlias = Callable[[Plan], float]
"""Images per second under a plan."""


def default_plan(provider: str, cpus: int, seconds: float) -> Plan:
    """What a backend starts on. `seconds`: of inference, for one image on one thread.

    On a CPU single-threaded lanes beat one big batch on all cores, for no thread waits for another. If images are quick, a lane
    more than there are cores takes the place of one that waits for Python's lock; of slow ones it would take the core. What one
    image needs fits a core's caches, what several need does not. A GPU wants big batches, and a second lane so that copying
    overlaps computing.
    """
    if provider == CUDA_PROVIDER:
        return Plan(batch_size=CUDA_BATCHES[-1], lanes=2, threads=1)
    return Plan(batch_size=CPU_BATCHES[0], lanes=cpus + _quick(seconds), threads=1)


def search(provider: str, cpus: int, fixed: Fixed, measure: Measure) -> Iterator[Measured]:
    """Measure plans one by one: first how the processors are shared out, then how large the batches are.

    Yields each as soon as it is measured; `choose` takes one of them.
    """
    cuda = provider == CUDA_PROVIDER
    shapes = [(lanes, 1) for lanes in (1, 2)] if cuda else [(cpus + 1, 1), *((lanes, cpus // lanes) for lanes in _halvings(cpus))]
    batches: Sequence[int] = CUDA_BATCHES if cuda else CPU_BATCHES
    seen: dict[Plan, Measured] = {}
    for lanes, threads in shapes:
        plan = fixed.apply(Plan(batches[-1 if cuda else 0], lanes, threads))
        if plan not in seen:
            seen[plan] = Measured(plan, measure(plan))
            yield seen[plan]
    for shape in sorted(seen.values(), key=lambda tried: tried.images_per_second, reverse=True)[:2]:
        for batch_size in batches:
            plan = fixed.apply(Plan(batch_size, shape.plan.lanes, shape.plan.threads))
            if plan not in seen:
                seen[plan] = Measured(plan, measure(plan))
                yield seen[plan]


def choose(measured: Sequence[Measured], default: Plan) -> Plan:
    """The default unless another is faster by more than noise; of those as fast, the one with the smallest batches."""
    if not measured:
        return default
    best = max(tried.images_per_second for tried in measured)
    good = [tried for tried in measured if tried.images_per_second >= best / (1 + WORTH)]
    if any(tried.plan == default for tried in good):
        return default
    return min(good, key=lambda tried: (tried.plan.batch_size, -tried.images_per_second)).plan


def confirm(challenger: Way, default: Way, measure: Callable[[Way], float]) -> Way:
    """The challenger if it is worth more than the default: both measured in turn, medians compared. One look may be luck."""
    looks = [(measure(default), measure(challenger)) for _ in range(LOOKS)]
    before, after = (median(speeds) for speeds in zip(*looks, strict=True))
    return challenger if after > before * (1 + WORTH) else default


def _quick(seconds: float) -> bool:
    return HANDOVER * seconds <= HANDOVER_S


def _halvings(cpus: int) -> list[int]:
    """Lanes to try: one a core, then fewer with more threads each."""
    lanes = [cpus]
    while lanes[-1] > 1:
        lanes.append(lanes[-1] // 2)
    return lanes

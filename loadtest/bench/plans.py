"""Which plans are worth trying on so many CPUs, and the search for the fastest."""

from collections.abc import Callable
from statistics import median

from service.tuning import Plan

BATCH_SIZES = (1, 2, 4, 8)
WORSE = 0.9
"""A bigger batch is not tried once one has fallen below this share of the best with the same lanes and threads."""
FINALISTS = 3
FINAL_LOOKS = 2


def worth_trying(cpus: int) -> list[tuple[int, int]]:
    """Pairs of lanes and threads that keep more than half of the CPUs busy, and the service's for quick images: a lane more."""
    steps = sorted({cpus, *(2**power for power in range(cpus.bit_length()) if 2**power < cpus)})
    return [*((lanes, threads) for lanes in steps for threads in steps if cpus / 2 < lanes * threads <= cpus), (cpus + 1, 1)]


def search(cpus: int, rate: Callable[[Plan], float]) -> Plan:
    """The plan of the highest `rate` (images a second), which is asked once of each and again of the best, in turn."""
    looks: dict[Plan, list[float]] = {}
    for lanes, threads in worth_trying(cpus):
        best = 0.0
        for batch_size in BATCH_SIZES:
            plan = Plan(batch_size=batch_size, lanes=lanes, threads=threads)
            found = rate(plan)
            looks[plan] = [found]
            best = max(best, found)
            if found < WORSE * best:
                break
    finalists = sorted(looks, key=lambda plan: looks[plan][0], reverse=True)[:FINALISTS]
    for _ in range(FINAL_LOOKS):
        for plan in finalists:
            looks[plan].append(rate(plan))
    return max(finalists, key=lambda plan: median(looks[plan]))

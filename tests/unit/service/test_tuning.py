"""Which plans are tried, and which is taken."""

from collections.abc import Callable, Mapping
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tuning import (
    BACKGROUND_HANDOVER,
    CPU_BATCHES,
    CUDA_BATCHES,
    CUDA_PROVIDER,
    HANDOVER,
    HANDOVER_S,
    LOOKS,
    WORTH,
    Fixed,
    Measured,
    Plan,
    choose,
    confirm,
    default_plan,
    search,
)

CPU_PROVIDER = "CPUExecutionProvider"

PROVIDERS = st.sampled_from([CPU_PROVIDER, CUDA_PROVIDER])
CPUS = st.integers(1, 200)
FIXED = st.builds(Fixed, *[st.none() | st.integers(1, 70)] * 3)
SPEEDS = st.floats(0.1, 1e6)
PLANS = st.builds(Plan, st.sampled_from(CPU_BATCHES), st.integers(1, 4), st.integers(1, 4))
MEASURED = st.dictionaries(PLANS, SPEEDS, min_size=1, max_size=12)


def measured(speeds: Mapping[Plan, float]) -> list[Measured]:
    return [Measured(plan, speed) for plan, speed in speeds.items()]


def steps(provider: str, cpus: int, fixed: Fixed, speed: Callable[[Plan], float]) -> list[Plan]:
    """The plans that are tried, in order; that what is yielded is what was measured holds on the way."""
    asked: list[Plan] = []

    def measure(plan: Plan) -> float:
        asked.append(plan)
        return speed(plan)

    for tried in search(provider, cpus, fixed, measure):
        assert tried == Measured(asked[-1], speed(asked[-1])), "each is told before the next is measured"
    return asked


@given(provider=PROVIDERS, cpus=CPUS, fixed=FIXED, seed=st.integers(1, 10**6), seconds=st.sampled_from([0.001, 0.1]))
def test_every_plan_is_tried_once_and_none_that_the_settings_rule_out(
    provider: str, cpus: int, fixed: Fixed, seed: int, seconds: float
) -> None:
    plans = steps(provider, cpus, fixed, lambda plan: float(hash((plan, seed)) % 1000 + 1))
    assert len(set(plans)) == len(plans) > 0
    assert all(fixed.apply(plan) == plan for plan in plans)
    assert fixed.apply(default_plan(provider, cpus, seconds)) in plans, "what it starts on is what others are held against"
    if fixed.whole:
        assert len(plans) == 1


@given(cpus=CPUS)
def test_on_a_cpu_no_more_threads_are_tried_than_there_are_processors(cpus: int) -> None:
    plans = steps(CPU_PROVIDER, cpus, Fixed(), lambda plan: float(plan.lanes))
    assert all(plan.lanes * plan.threads <= cpus or (plan.lanes, plan.threads) == (cpus + 1, 1) for plan in plans)
    assert {plan.batch_size for plan in plans} == set(CPU_BATCHES)
    assert {plan.lanes for plan in plans} >= {1, cpus}


def test_the_two_best_ways_to_share_the_processors_are_tried_with_every_batch_size() -> None:
    plans = steps(CPU_PROVIDER, 8, Fixed(), lambda plan: {9: 2.5, 8: 3.0, 4: 1.0, 2: 4.0, 1: 2.0}[plan.lanes])
    assert plans[:5] == [Plan(1, *shape) for shape in ((9, 1), (8, 1), (4, 2), (2, 4), (1, 8))]
    assert plans[5:] == [Plan(size, *shape) for shape in ((2, 4), (8, 1)) for size in CPU_BATCHES[1:]]


def test_on_a_gpu_one_lane_and_two_are_tried_with_every_batch_size() -> None:
    plans = steps(CUDA_PROVIDER, 16, Fixed(), lambda plan: float(plan.batch_size))
    assert set(plans) == {Plan(size, lanes, 1) for size in CUDA_BATCHES for lanes in (1, 2)}
    assert [plan.batch_size for plan in plans[:2]] == [32, 32]


@pytest.mark.parametrize("provider", [CPU_PROVIDER, CUDA_PROVIDER])
def test_nothing_more_is_measured_than_is_asked_for(provider: str) -> None:
    """An interruption ends the search between two plans."""
    asked: list[Plan] = []
    found = search(provider, 4, Fixed(), lambda plan: float(len(asked)) if asked.append(plan) is None else 0.0)  # type: ignore[func-returns-value]
    next(found)
    assert len(asked) == 1
    next(found)
    assert len(asked) == 2


@given(speeds=MEASURED, data=st.data())
def test_the_default_stays_unless_another_plan_is_faster_by_more_than_noise(
    speeds: dict[Plan, float], data: st.DataObject
) -> None:
    default = data.draw(st.sampled_from(list(speeds)))
    best = max(speeds.values())
    stays = best <= speeds[default] * (1 + WORTH)
    close = best == pytest.approx(speeds[default] * (1 + WORTH))
    assert close or (choose(measured(speeds), default) == default) is stays


@given(speeds=MEASURED, default=PLANS)
def test_of_plans_that_are_as_fast_the_one_with_the_smallest_batches_is_taken(speeds: dict[Plan, float], default: Plan) -> None:
    chosen = choose(measured(speeds), default)
    best = max(speeds.values())
    assert chosen in speeds
    assert speeds[chosen] >= best / (1 + WORTH)
    if chosen == default:
        return
    better = {plan: speed for plan, speed in speeds.items() if speed >= best / (1 + WORTH)}
    assert default not in better
    assert chosen.batch_size == min(plan.batch_size for plan in better)
    assert speeds[chosen] == max(speed for plan, speed in better.items() if plan.batch_size == chosen.batch_size)


@given(speeds=MEASURED, default=PLANS, data=st.data())
def test_the_choice_does_not_hang_on_the_order_of_the_measurements(
    speeds: dict[Plan, float], default: Plan, data: st.DataObject
) -> None:
    tried = measured(speeds)
    other = choose(data.draw(st.permutations(tried)), default)
    chosen = choose(tried, default)
    assert (other.batch_size, speeds[other]) == (chosen.batch_size, speeds[chosen])


@given(looks=st.lists(st.tuples(SPEEDS, SPEEDS), min_size=LOOKS, max_size=LOOKS))
def test_a_plan_takes_the_defaults_place_only_if_it_is_faster_again_in_most_looks(looks: list[tuple[float, float]]) -> None:
    default, challenger = Plan(8, 3, 1), Plan(1, 2, 1)
    speeds = iter([speed for pair in looks for speed in pair])
    asked: list[Plan] = []

    def measure(plan: Plan) -> float:
        asked.append(plan)
        return next(speeds)

    chosen = confirm(challenger, default, measure)
    assert asked == LOOKS * [default, challenger], "in turn, so that a slow moment meets both"
    faster = median(pair[1] for pair in looks) > median(pair[0] for pair in looks) * (1 + WORTH)
    assert chosen == (challenger if faster else default)


@pytest.mark.parametrize("most", [HANDOVER, BACKGROUND_HANDOVER])
@given(plan=PLANS, seconds=st.floats(0, 1))
def test_a_lane_takes_whole_batches_and_never_many_slow_ones(plan: Plan, seconds: float, most: int) -> None:
    images = plan.handover(CPU_PROVIDER, seconds, most)
    assert images % plan.batch_size == 0
    assert images <= max(plan.batch_size, most)
    assert images == plan.batch_size or images * seconds <= HANDOVER_S * (1 + 1e-9)
    assert plan.handover(CUDA_PROVIDER, seconds, most) == plan.batch_size


@given(plan=PLANS, seconds=st.floats(0, 1))
def test_background_work_is_handed_over_in_no_smaller_parts(plan: Plan, seconds: float) -> None:
    assert plan.handover(CPU_PROVIDER, seconds, BACKGROUND_HANDOVER) >= plan.handover(CPU_PROVIDER, seconds)


def test_quick_images_are_handed_over_by_the_eight_and_slow_ones_singly() -> None:
    assert [Plan(1, 3, 1).handover(CPU_PROVIDER, seconds) for seconds in (0, 0.001, 0.006, 0.02)] == [8, 8, 4, 1]
    assert [Plan(4, 3, 1).handover(CPU_PROVIDER, seconds) for seconds in (0.001, 0.006, 0.02)] == [8, 4, 4]


def test_without_a_measurement_the_default_stays() -> None:
    assert choose([], Plan(1, 2, 1)) == Plan(1, 2, 1)


@given(plan=PLANS, fixed=FIXED)
def test_what_is_fixed_holds_and_the_rest_is_the_plans(plan: Plan, fixed: Fixed) -> None:
    applied = fixed.apply(plan)
    assert applied == Plan(fixed.batch_size or plan.batch_size, fixed.lanes or plan.lanes, fixed.threads or plan.threads)
    assert fixed.apply(applied) == applied


@pytest.mark.parametrize("cpus", [1, 2, 16])
def test_a_cpu_gets_single_images_and_for_quick_ones_a_lane_more_than_cores_and_a_gpu_big_batches(cpus: int) -> None:
    assert default_plan(CPU_PROVIDER, cpus, HANDOVER_S / HANDOVER) == Plan(batch_size=1, lanes=cpus + 1, threads=1)
    assert default_plan(CPU_PROVIDER, cpus, 1.01 * HANDOVER_S / HANDOVER) == Plan(batch_size=1, lanes=cpus, threads=1)
    assert default_plan(CUDA_PROVIDER, cpus, 0.001).batch_size == max(CUDA_BATCHES)

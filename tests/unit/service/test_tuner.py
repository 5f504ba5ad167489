"""Plans are measured while nobody asks for anything, and at nobody's expense."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from models.errors import BrokenModel
from service.activity import Activity
from service.backends.base import Rival
from service.plans import Kept, PlanBook
from service.registry import Registry
from service.settings import load_settings
from service.tuner import Tuner
from service.tuning import LOOKS, Fixed, Measured, Plan, default_plan, search
from tests.unit.service.stand_ins import Fake, Measurable, candidate, until

Tune = Callable[..., Awaitable[Registry]]

DEFAULT = default_plan("none", Measurable.cpus, 0.0)


def by_lanes(plan: Plan) -> float:
    """The more lanes the better, which the default has most of."""
    return 100.0 + plan.lanes


ORDER = [tried.plan for tried in search("none", Measurable.cpus, Fixed(), by_lanes)]
"""In which plans are tried."""


def last_is_best(plan: Plan) -> float:
    """The plan that is tried last is the fastest by far."""
    return 1000.0 if plan == ORDER[-1] else by_lanes(plan)


class Clock(Activity):
    """Nobody has asked for `quiet` seconds, and a request ends that."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.asked = 0

    @property
    def quiet(self) -> float:
        self.asked += 1
        return self.seconds

    def mark(self) -> None:
        self.seconds = 0.0
        super().mark()

    async def looked_at(self) -> None:
        """Wait until a tuner has thought about it anew, and again."""
        seen = self.asked + 2
        await until(lambda: self.asked > seen, "the tuner looks whether it is quiet")


@pytest.fixture
def activity(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("service.tuner.QUIET_S", 0.01)
    return Clock()


@pytest.fixture
def book(tmp_path: Path) -> PlanBook:
    return PlanBook(tmp_path / "plans", 4)


@pytest.fixture
async def tune(activity: Clock, book: PlanBook) -> AsyncIterator[Tune]:
    """Serves backends of these plans, `a` and so on, and lets the tuner run until the end."""
    ends: list[Callable[[], Awaitable[object]]] = []

    async def begin(*tunables: Measurable) -> Registry:
        registry = Registry(load_settings())
        await registry.open({name: [candidate(name, "1", tunable=one)] for name, one in zip("abc", tunables, strict=False)})
        task = asyncio.ensure_future(Tuner(registry, book, activity).run())

        async def end() -> None:
            activity.mark()
            task.cancel()
            await asyncio.wait([task])
            await registry.close()

        ends.append(end)
        return registry

    yield begin
    for end in ends:
        await end()


async def test_the_best_plan_is_adopted_kept_and_told_of(tune: Tune, book: PlanBook) -> None:
    tunable = Measurable(last_is_best)
    registry = await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert tunable.adopted == [ORDER[-1]]
    assert tunable.tuning.source == "measured"
    assert [tried.plan for tried in tunable.tuning.measured] == ORDER
    assert tunable.tried == ORDER + LOOKS * [DEFAULT, ORDER[-1]], "what is to take the default's place is held against it again"
    await until(lambda: book.find(tunable.plan_key) is not None, "it is in the book")
    kept = book.find(tunable.plan_key)
    assert kept
    assert (kept.plan, [tried.plan for tried in kept.measured]) == (ORDER[-1], ORDER)
    assert registry.get("a").plan == ORDER[-1]


async def test_a_plan_that_is_best_already_is_not_changed_but_kept(tune: Tune, book: PlanBook) -> None:
    tunable = Measurable()
    await tune(tunable)
    await until(lambda: book.find(tunable.plan_key) is not None, "it is in the book")
    assert (tunable.tuning.state, tunable.adopted, tunable.plan) == ("tuned", [], DEFAULT)


async def test_threads_for_who_is_alone_are_found_out_when_it_is_quiet_adopted_and_kept(tune: Tune, book: PlanBook) -> None:
    tunable = Measurable()
    tunable.best_alone = 2
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert (tunable.adopted, tunable.threads_alone) == ([DEFAULT], 2), "the plan is what it was"
    assert tunable.alone == LOOKS * [1, 2]
    kept = book.find(tunable.plan_key)
    assert kept
    assert (kept.plan, kept.threads_alone) == (DEFAULT, 2)


async def test_a_plan_is_gone_over_to_before_who_is_alone_is_looked_at_and_no_look_is_made_twice(
    tune: Tune, activity: Clock, book: PlanBook
) -> None:
    tunable = Measurable(last_is_best, hold=2)
    tunable.best_alone = 2
    await tune(tunable)
    await until(lambda: tunable.alone == [1, 2], "the second look is under way")
    assert tunable.plan == ORDER[-1]
    activity.mark()
    await until(lambda: tunable.tuning.state == "waiting", "it gives way")
    assert book.find(tunable.plan_key) is None, "not all is known yet"
    tunable.hold = None
    activity.seconds = 1000.0
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert tunable.tried == ORDER + LOOKS * [DEFAULT, ORDER[-1]]
    assert tunable.alone == [1, 2, *(LOOKS * [1, 2])[1:]], "only what was interrupted is measured twice"
    kept = book.find(tunable.plan_key)
    assert kept
    assert (kept.plan, kept.threads_alone) == (ORDER[-1], 2)


async def test_where_there_is_one_processor_nothing_is_measured_for_who_is_alone(tune: Tune) -> None:
    tunable = Measurable()
    tunable.most_alone = 1
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert (tunable.alone, tunable.threads_alone) == ([], 1)


async def test_one_that_does_not_lead_takes_what_the_leader_wrote_and_measures_nothing(
    activity: Clock, book: PlanBook, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(Measurable):
        async def adopt(self, plan: Plan, threads_alone: int | None = None) -> None:
            raise BrokenModel("model.onnx can't be loaded: no such file")

    tunables = {"a": Refusing(), "b": Measurable()}
    registry = Registry(load_settings())
    await registry.open({name: [candidate(name, "1", tunable=one)] for name, one in tunables.items()})
    task = asyncio.ensure_future(Tuner(registry, book, activity, leads=False).run())
    try:
        await activity.looked_at()
        assert [one.tuning.state for one in tunables.values()] == ["waiting"] * 2
        book.keep(tunables["b"].plan_key, Kept(ORDER[-1], [], 2))
        await until(lambda: tunables["b"].tuning.state == "tuned", "it has found the plan, whatever became of the first one's")
        assert (tunables["b"].plan, tunables["b"].threads_alone, tunables["b"].tuning.source) == (ORDER[-1], 2, "kept")
        assert (tunables["a"].plan, tunables["a"].tuning.state, tunables["a"].tuning.source) == (DEFAULT, "off", "default")
        assert [one.tried for one in tunables.values()] == [[], []]
        assert "the plan in the book can't be had" in caplog.text
    finally:
        task.cancel()
        await asyncio.wait([task])
        await registry.close()


async def test_what_others_are_held_against_is_the_networks_own_default(tune: Tune) -> None:
    own = Plan(1, Measurable.cpus, 1)
    tunable = Measurable(last_is_best)
    tunable.plan = tunable.default = own
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert tunable.tried[len(ORDER) :] == LOOKS * [own, ORDER[-1]]


async def test_nothing_is_measured_until_it_has_been_quiet_for_a_while(tune: Tune, activity: Clock) -> None:
    activity.mark()
    tunable = Measurable()
    await tune(tunable)
    await activity.looked_at()
    assert (tunable.tried, tunable.tuning.state) == ([], "waiting")
    activity.seconds = 0.011
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")


async def test_nothing_is_measured_while_a_request_is_inside_however_long(tune: Tune, activity: Clock) -> None:
    activity.mark()
    first, second = Measurable(), Measurable()
    registry = await tune(first, second)
    with registry.get("b").admission.permit("slow"):
        activity.seconds = 1000.0
        await activity.looked_at()
        assert first.tried == second.tried == []
    await until(lambda: first.tuning.state == second.tuning.state == "tuned", "both are tuned")


async def test_a_request_interrupts_at_once_and_what_was_measured_is_not_measured_again(tune: Tune, activity: Clock) -> None:
    tunable = Measurable(hold=ORDER[1])
    await tune(tunable)
    await until(lambda: len(tunable.tried) == 2, "the second plan is measured")
    assert tunable.tuning.state == "running"
    activity.mark()
    await until(lambda: tunable.tuning.state == "waiting", "it gives way")
    await activity.looked_at()
    assert tunable.tried == ORDER[:2], "it waits until it is quiet again"
    tunable.hold = None
    activity.seconds = 1000.0
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert tunable.tried == [*ORDER[:2], *ORDER[1:]], "only what was interrupted is measured twice"
    assert [tried.plan for tried in tunable.tuning.measured] == ORDER


async def test_a_request_that_came_long_before_interrupts_nothing(tune: Tune, activity: Clock) -> None:
    stop = activity.until_next()
    activity.mark()
    assert stop.is_set()
    activity.seconds = 1000.0
    tunable = Measurable()
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")


async def test_a_measurement_that_fails_leaves_the_plan_and_is_not_tried_again(
    tune: Tune, book: PlanBook, activity: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_plan: Plan) -> float:
        raise RuntimeError("out of memory")

    broken, sound = Measurable(fail), Measurable()
    sound.plan_key = ("another",)
    await tune(broken, sound)
    await until(lambda: broken.tuning.state == "off", "it gives up")
    await until(lambda: sound.tuning.state == "tuned", "the next one is tuned all the same")
    assert (broken.plan, broken.adopted, broken.tried) == (DEFAULT, [], ORDER[:1])
    assert book.find(broken.plan_key) is None
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert vars(record)["backend"] == "a"
    assert "out of memory" in caplog.text


async def test_a_version_whose_file_is_gone_is_served_on_and_that_is_no_error(
    tune: Tune, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(_plan: Plan) -> float:
        raise BrokenModel("model.onnx can't be loaded: no such file")

    tunable = Measurable(gone)
    registry = await tune(tunable)
    await until(lambda: tunable.tuning.state == "off", "it gives up")
    assert registry.get("a").plan == DEFAULT
    assert [record.levelno for record in caplog.records if record.name == "parallax.tuner"] == [logging.WARNING]


async def test_a_plan_that_can_not_be_adopted_is_not_kept_either(tune: Tune, book: PlanBook) -> None:
    class Refusing(Measurable):
        async def adopt(self, plan: Plan, threads_alone: int | None = None) -> None:
            raise RuntimeError("no memory for a second session")

    tunable = Refusing(last_is_best)
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "off", "it gives up")
    assert tunable.plan == DEFAULT
    assert book.find(tunable.plan_key) is None


@pytest.mark.parametrize("state", ["off", "tuned", "running"])
async def test_what_does_not_wait_to_be_tuned_is_left_alone(tune: Tune, activity: Clock, state: str) -> None:
    settled, waiting = Measurable(), Measurable()
    settled.tuning.state = state  # type: ignore[assignment]
    await tune(settled, waiting)
    await until(lambda: waiting.tuning.state == "tuned", "the other one is tuned")
    await activity.looked_at()
    assert settled.tried == []


async def test_what_the_settings_fix_is_not_tried_otherwise(tune: Tune) -> None:
    tunable = Measurable()
    tunable.fixed = Fixed(batch_size=3, lanes=2)
    tunable.plan = tunable.fixed.apply(tunable.plan)
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "it is tuned")
    assert {(plan.batch_size, plan.lanes) for plan in [*tunable.tried, tunable.plan]} == {(3, 2)}


async def test_backends_are_measured_one_after_the_other(tune: Tune) -> None:
    def alone(plan: Plan) -> float:
        assert [one.tuning.state for one in tunables].count("running") == 1
        return by_lanes(plan)

    tunables = [Measurable(alone) for _ in range(3)]
    await tune(*tunables)
    await until(lambda: all(one.tuning.state == "tuned" for one in tunables), "all are tuned")


async def test_a_version_that_was_retired_meanwhile_is_not_touched_any_more(tune: Tune, activity: Clock) -> None:
    old, new = Measurable(last_is_best, hold=ORDER[1]), Measurable(last_is_best)
    registry = await tune(old)
    await until(lambda: len(old.tried) == 2, "the second plan is measured")
    activity.mark()
    await until(lambda: old.tuning.state == "waiting", "it gives way")
    await registry.reload("a", [candidate("a", "2", tunable=new)])
    activity.seconds = 1000.0
    await until(lambda: new.tuning.state == "tuned", "the new version is tuned")
    assert (len(old.tried), old.adopted, old.tuning.state) == (2, [], "waiting")
    assert new.tried[: len(ORDER)] == ORDER, "on its own figures"


def rival(tunable: Measurable, loads: list[Fake] | None = None, error: Exception | None = None) -> Rival:
    """A variant that does not serve; `loads` gets each backend that was made of it."""

    def load() -> Fake:
        if error:
            raise error
        made = Fake("a", "1", tunable=tunable)
        if loads is not None:
            loads.append(made)
        return made

    return Rival("int8", load)


def other(speed: Callable[[Plan], float] = by_lanes, *, hold: Plan | None = None) -> Measurable:
    tunable = Measurable(speed, hold=hold)
    tunable.plan_key = ("other digest",)
    return tunable


async def test_variants_that_do_not_serve_are_measured_and_kept_and_never_adopted(tune: Tune, book: PlanBook) -> None:
    tunable, variant = Measurable(), other(last_is_best)
    variant.best_alone = 2
    loads: list[Fake] = []
    tunable.rivals = [rival(variant, loads)]
    registry = await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "all is measured")
    assert tunable.rivals == []
    speeds = [Measured(plan, round(last_is_best(plan), 1)) for plan in ORDER]
    assert book.find(variant.plan_key) == Kept(ORDER[-1], speeds, 2)
    assert book.speed(variant.plan_key) == speeds[-1].images_per_second
    assert (variant.adopted, tunable.adopted, registry.get("a").plan) == ([], [], DEFAULT)
    assert [made.closed for made in loads] == [True]


async def test_a_plan_that_is_known_is_not_measured_again_for_the_sake_of_a_variant(tune: Tune, book: PlanBook) -> None:
    tunable, variant = Measurable(), other()
    tunable.tuning.source = "kept"
    tunable.rivals = [rival(variant)]
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "all is measured")
    assert (tunable.tried, variant.tried) == ([], ORDER)
    assert tunable.tuning.source == "kept"


async def test_a_request_interrupts_a_variant_too_and_its_memory_is_given_back_meanwhile(tune: Tune, activity: Clock) -> None:
    tunable, variant = Measurable(), other(hold=ORDER[1])
    loads: list[Fake] = []
    tunable.rivals = [rival(variant, loads)]
    await tune(tunable)
    await until(lambda: len(variant.tried) == 2, "its second plan is measured")
    activity.mark()
    await until(lambda: tunable.tuning.state == "waiting", "it gives way")
    assert loads[0].closed
    variant.hold = None
    activity.seconds = 1000.0
    await until(lambda: tunable.tuning.state == "tuned", "all is measured")
    assert tunable.tried == ORDER, "its own plans were known"
    assert variant.tried == [*ORDER[:2], *ORDER[1:]], "only what was interrupted is measured twice"


async def test_a_variant_that_is_not_sound_is_left_out(tune: Tune, book: PlanBook, caplog: pytest.LogCaptureFixture) -> None:
    tunable, variant = Measurable(), other()
    tunable.rivals = [rival(other(), error=BrokenModel("torn")), rival(variant)]
    await tune(tunable)
    await until(lambda: tunable.tuning.state == "tuned", "the others are measured")
    assert book.speed(variant.plan_key) is not None
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (vars(record)["backend"], vars(record)["precision"], vars(record)["reason"]) == ("a", "int8", "torn")

"""Measures the plans of backends while nobody asks for anything."""

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from models.errors import ModelError
from service.activity import Activity
from service.backends.base import Rival, Tunable
from service.errors import Closing
from service.lanes import Interrupted
from service.memory import give_back
from service.niceness import NOT_URGENT, step_back
from service.plans import Kept, PlanBook
from service.registry import Registry
from service.running import Running
from service.tuning import Measured, Plan, choose, confirm, search

log = logging.getLogger("parallax.tuner")

Way = TypeVar("Way", Plan, int)
Look: TypeAlias = tuple[Plan | int, int]
"""A plan, or threads of who is alone, and how often it was looked at."""

QUIET_S = 0.5
"""How long nobody must have asked before a measurement begins."""


class Tuner:
    """One backend after the other, one plan after the other; what was measured before an interruption is kept."""

    def __init__(self, registry: Registry, book: PlanBook, activity: Activity, *, leads: bool = True) -> None:
        """Of several workers one `leads`: it measures, and the others find in the book what it wrote."""
        self._registry = registry
        self._book = book
        self._activity = activity
        self._leads = leads
        self._known: WeakKeyDictionary[object, dict[Look, float]] = WeakKeyDictionary()
        """Of a backend, or of a variant that does not serve."""
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="rival", initializer=step_back, initargs=(NOT_URGENT,))

    async def run(self) -> None:
        """Tune whatever waits for it, until cancelled."""
        try:
            await self._run()
        finally:
            self._loader.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            waiting = [
                (running, tunable)
                for running in self._registry.running
                if (tunable := running.backend.tunable) is not None and tunable.tuning.state == "waiting"
            ]
            pause = QUIET_S - self._activity.quiet
            if not self._leads:
                for running, tunable in waiting:
                    await self._look_up(running, tunable)
                await asyncio.sleep(QUIET_S)
            elif waiting and pause <= 0 and not any(running.admission.held for running in self._registry.running):
                await self._tune(*waiting[0])
            else:
                await asyncio.sleep(max(pause, QUIET_S / 10) if waiting else QUIET_S)

    async def _look_up(self, running: Running, tunable: Tunable) -> None:
        kept = self._book.find(tunable.plan_key)
        if kept is None:
            return
        try:
            await running.adopt(tunable.fixed.apply(kept.plan), kept.threads_alone)
        except Closing:
            return  # another version took its place meanwhile
        except Exception:
            log.exception("the plan in the book can't be had; the plan stays", extra={"backend": running.identity.name})
            tunable.tuning.state = "off"
        else:
            tunable.tuning.state, tunable.tuning.source, tunable.tuning.measured = "tuned", "kept", kept.measured

    async def _tune(self, running: Running, tunable: Tunable) -> None:
        tunable.tuning.state = "running"
        stop = self._activity.until_next()
        try:
            if tunable.tuning.source not in ("kept", "measured"):
                await self._choose_plan(running, tunable, stop)
            while tunable.rivals:
                await self._try_rival(running, tunable.rivals[0], stop)
                tunable.rivals.pop(0)
        except Interrupted:
            tunable.tuning.state = "waiting"
        except Closing:
            return  # another version took its place meanwhile
        except ModelError as exc:  # its file was taken out of the store: it serves on from memory
            log.warning("the plan stays unmeasured", extra={"backend": running.identity.name, "reason": str(exc)})
            tunable.tuning.state = "off"
        except Exception:
            log.exception("tuning failed; the plan stays", extra={"backend": running.identity.name})
            tunable.tuning.state = "off"
        else:
            tunable.tuning.state = "tuned"
            log.info("backend tuned", extra={"backend": running.identity.name} | dict(running.backend.describe()))

    async def _choose_plan(self, running: Running, tunable: Tunable, stop: threading.Event) -> None:
        """Measure plans, go over to the best, and keep it."""
        looks = self._looks(running, tunable, stop)
        measured, plan = await self._search(tunable, running.identity.provider, looks)
        if plan != tunable.plan:
            await running.adopt(plan, tunable.threads_alone)
        threads = await self._alone(tunable, looks)
        if threads != tunable.threads_alone:
            await running.adopt(plan, threads)
        tunable.tuning.source, tunable.tuning.measured = "measured", measured
        self._book.keep(tunable.plan_key, Kept(plan, measured, threads))
        self._known.pop(running, None)

    async def _try_rival(self, running: Running, rival: Rival, stop: threading.Event) -> None:
        """Measure the plans of a variant that does not serve, and keep the best for the next load, which compares them."""
        described = {"backend": running.identity.name, "precision": rival.precision}
        try:
            backend = await asyncio.get_running_loop().run_in_executor(self._loader, rival.load)
        except ModelError as exc:
            log.warning("a variant is unfit", extra=described | {"reason": str(exc)})
            return
        try:
            if (tunable := backend.tunable) is not None:
                looks = self._looks(rival, tunable, stop)
                measured, plan = await self._search(tunable, backend.identity.provider, looks)
                self._book.keep(tunable.plan_key, Kept(plan, measured, await self._alone(tunable, looks)))
                log.info("variant measured", extra=described | {"plan": asdict(plan)})
        finally:
            await backend.close()

    def _looks(self, owner: object, tunable: Tunable, stop: threading.Event) -> "_Looks":
        """What was measured for an owner before it was interrupted is not measured again."""
        return _Looks(tunable, stop, self._known.setdefault(owner, {}))

    async def _search(self, tunable: Tunable, provider: str, looks: "_Looks") -> tuple[list[Measured], Plan]:
        """Measure plans, and choose one."""
        plans = search(provider, tunable.cpus, tunable.fixed, looks.at_plan)
        measured = await asyncio.to_thread(lambda: list(plans))
        default = tunable.fixed.apply(tunable.default)
        plan = choose(measured, default)
        if plan != default:
            plan = await asyncio.to_thread(confirm, plan, default, looks.at_plan)
        return measured, plan

    async def _alone(self, tunable: Tunable, looks: "_Looks") -> int:
        """Threads with which an image that finds nobody else there is quickest: all, or one."""
        threads = 1
        if tunable.most_alone > 1:
            threads = await asyncio.to_thread(confirm, tunable.most_alone, 1, looks.alone)
        await asyncio.to_thread(give_back)
        return threads


class _Looks:
    """Measurements of one backend, each look at the same thing counted: those that are known need not be made."""

    def __init__(self, tunable: Tunable, stop: threading.Event, known: dict[Look, float]) -> None:
        self._tunable = tunable
        self._stop = stop
        self._known = known
        self._seen: Counter[Plan | int] = Counter()

    def at_plan(self, plan: Plan) -> float:
        """Images per second under a plan."""
        return self._look(plan, self._tunable.measure)

    def alone(self, threads: int) -> float:
        """Images per second, one by one, on so many threads."""
        return self._look(threads, self._tunable.measure_alone)

    def _look(self, what: Way, measure: Callable[[Way, threading.Event], float]) -> float:
        self._seen[what] += 1
        look = what, self._seen[what]
        if look not in self._known:
            self._known[look] = measure(what, self._stop)
        return self._known[look]

"""Measures the plans of backends while nobody asks for anything."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
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
        self._known: WeakKeyDictionary[object, dict[Plan, float]] = WeakKeyDictionary()
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
        if kept is not None:
            tunable.tuning.state, tunable.tuning.source, tunable.tuning.measured = "tuned", "kept", kept.measured
            await running.adopt(tunable.fixed.apply(kept.plan), kept.threads_alone)

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
        found = await self._search(running, tunable, running.identity.provider, stop)
        if (found.plan, found.threads_alone) != (tunable.plan, tunable.threads_alone):
            await running.adopt(found.plan, found.threads_alone)
        tunable.tuning.source, tunable.tuning.measured = "measured", found.measured
        self._book.keep(tunable.plan_key, found)
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
                found = await self._search(rival, tunable, backend.identity.provider, stop)
                self._book.keep(tunable.plan_key, found)
                log.info("variant measured", extra=described | {"plan": asdict(found.plan)})
        finally:
            await backend.close()

    async def _search(self, owner: object, tunable: Tunable, provider: str, stop: threading.Event) -> Kept:
        """Measure plans but for those that the owner's search knows from before it was interrupted, and choose one.

        For who is alone all is measured now too, and not when a version is loaded, beside whatever else goes on then.
        """
        known = self._known.setdefault(owner, {})
        measured = await asyncio.to_thread(_measure, tunable, provider, known, stop)
        default = tunable.fixed.apply(tunable.default)
        plan = choose(measured, default)
        if plan != default:
            plan = await asyncio.to_thread(confirm, plan, default, lambda one: tunable.measure(one, stop))
        kept = Kept(plan, measured, await asyncio.to_thread(tunable.quickest_alone, stop))
        await asyncio.to_thread(give_back)
        return kept


def _measure(tunable: Tunable, provider: str, known: dict[Plan, float], stop: threading.Event) -> list[Measured]:
    def measure(plan: Plan) -> float:
        if plan not in known:
            known[plan] = tunable.measure(plan, stop)
        return known[plan]

    return list(search(provider, tunable.cpus, tunable.fixed, measure))

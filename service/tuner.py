"""Measures the plans of backends while nobody asks for anything."""

import asyncio
import logging
import threading
from weakref import WeakKeyDictionary

from service.activity import Activity
from service.backends.base import Tunable
from service.errors import Closing
from service.lanes import Interrupted
from service.plans import PlanBook
from service.registry import Registry
from service.running import Running
from service.tuning import Measured, Plan, choose, confirm, default_plan, search, served

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
        self._known: WeakKeyDictionary[Running, dict[Plan, float]] = WeakKeyDictionary()

    async def run(self) -> None:
        """Tune whatever waits for it, until cancelled."""
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
            tunable.tuning.state, tunable.tuning.source, tunable.tuning.measured = "tuned", "kept", kept[1]
            await running.adopt(tunable.fixed.apply(kept[0]))

    async def _tune(self, running: Running, tunable: Tunable) -> None:
        tunable.tuning.state = "running"
        stop = self._activity.until_next()
        known = self._known.setdefault(running, {})
        try:
            measured = await asyncio.to_thread(_measure, running, tunable, known, stop)
            default = tunable.fixed.apply(default_plan(running.identity.provider, tunable.cpus))
            plan = choose(measured, default)
            if plan != default:
                plan = await asyncio.to_thread(confirm, plan, default, lambda one: served(tunable.measure(one, stop), one))
            if plan != tunable.plan:
                await running.adopt(plan)
        except Interrupted:
            tunable.tuning.state = "waiting"
            return
        except Closing:
            return  # another version took its place meanwhile
        except Exception:
            log.exception("tuning failed; the plan stays", extra={"backend": running.identity.name})
            tunable.tuning.state = "off"
        else:
            tunable.tuning.state, tunable.tuning.source, tunable.tuning.measured = "tuned", "measured", measured
            self._book.keep(tunable.plan_key, plan, measured)
            log.info("backend tuned", extra={"backend": running.identity.name} | dict(running.backend.describe()))
        self._known.pop(running, None)


def _measure(running: Running, tunable: Tunable, known: dict[Plan, float], stop: threading.Event) -> list[Measured]:
    def measure(plan: Plan) -> float:
        if plan not in known:
            known[plan] = served(tunable.measure(plan, stop), plan)
        return known[plan]

    return list(search(running.identity.provider, tunable.cpus, tunable.fixed, measure))

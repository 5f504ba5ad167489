"""Backends of any name and version, for whoever manages backends; and a wait for what other threads and tasks do."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from models import imaging
from service.backends.base import Candidate, Rival, Tunable, Tuning
from service.backends.fake import FakeBackend
from service.domain import Identity, Inferred
from service.lanes import Interrupted
from service.registry import Registry
from service.settings import load_settings
from service.tuning import Fixed, Plan, default_plan

Out = TypeVar("Out")

PATIENCE_S = 30.0
"""A bound on every wait, so that a test of broken code ends: what is waited for comes much sooner."""


class Fake(FakeBackend):
    """It remembers what it was told, and holds batches back while it is told to."""

    tunable: Any = None  # of the stand-in for users it is None for ever

    def __init__(self, name: str = "a", version: str = "1", *, tunable: Tunable | None = None) -> None:
        super().__init__(load_settings(fake={"labels": ["a", "b"]}))
        self.identity = Identity(name, "fake", version, "none", "none", ("a", "b"))
        self.tunable = tunable
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.started = self.closed = False

    async def start(self) -> None:
        self.started = True

    async def infer(self, batch: Sequence[imaging.Pixels | bytes]) -> Sequence[Inferred | Exception]:
        assert self.started
        assert not self.closed, "nobody may be inside when it is closed"
        await self.go_on.wait()
        return await super().infer(batch)

    async def close(self) -> None:
        self.closed = True


class Measurable:
    """A plan that can be measured: each has the speed that `speed` gives it, the one to `hold` none before an interruption."""

    plan_key = ("digest",)
    cpus = 4

    def __init__(
        self, speed: Callable[[Plan], float] = lambda plan: 100.0 + plan.lanes, *, hold: Plan | int | None = None
    ) -> None:
        self.plan = self.default = default_plan("none", self.cpus, 0.0)
        self.tuning = Tuning("waiting", "default")
        self.rivals: list[Rival] = []
        self.fixed = Fixed()
        self.threads_alone = 1
        self.most_alone = 2
        self.max_background = 1
        self.best_alone = 1
        self.alone: list[int] = []
        self.speed = speed
        self.hold = hold
        self.tried: list[Plan] = []
        self.adopted: list[Plan] = []

    def measure(self, plan: Plan, stop: threading.Event) -> float:
        self.tried.append(plan)
        if plan == self.hold:
            assert stop.wait(PATIENCE_S)
            raise Interrupted
        return self.speed(plan)

    def measure_alone(self, threads: int, stop: threading.Event) -> float:
        self.alone.append(threads)
        if stop.is_set() or threads == self.hold:
            assert stop.wait(PATIENCE_S)
            raise Interrupted
        return 100.0 + 100.0 * (threads == self.best_alone)

    async def adopt(self, plan: Plan, threads_alone: int | None = None) -> None:
        self.adopted.append(plan)
        self.plan, self.threads_alone = plan, threads_alone or self.threads_alone


def candidate(
    name: str,
    version: str,
    error: Exception | None = None,
    *,
    stamp: object = None,
    tunable: Tunable | None = None,
    inherited: list[Plan | None] | None = None,
) -> Candidate:
    """A version that loads unless there is an `error`; `inherited` gets the plan that it was loaded with."""

    def load(plan: Plan | None) -> Fake:
        if inherited is not None:
            inherited.append(plan)
        if error:
            raise error
        return Fake(name, version, tunable=tunable)

    return Candidate(version, load, stamp=stamp)


def fake_of(registry: Registry, name: str = "a", version: str | None = None) -> Fake:
    """The stand-in that serves a name."""
    backend = registry.get(name, version).backend
    assert isinstance(backend, Fake)
    return backend


def served(registry: Registry) -> list[str]:
    """What is served, as name/version."""
    return [f"{running.identity.name}/{running.identity.version}" for running in registry.running]


def failed(registry: Registry) -> dict[str, str]:
    """What is not, with the reasons."""
    return {f"{failure.name}/{failure.version}": failure.reason for failure in registry.failures}


async def until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as a condition holds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


async def soon(awaitable: Awaitable[Out]) -> Out:
    """What it comes to; broken code must not make a test wait for ever."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable

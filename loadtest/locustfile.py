"""What locust runs: `parallax loadtest run` starts it in a process of its own, because gevent changes the whole of Python there.

By hand: `locust -f loadtest/locustfile.py --host http://localhost:8000 --plan '{"rate": 50}'`, with locust's own page.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtest.plan import Plan
from loadtest.session import Session
from loadtest.users import CALLERS, BadInput, Caller, Classify, Compare, CustomVision, Scoring, counts

__all__ = ["BadInput", "Classify", "Compare", "CustomVision", "Scoring", "Waves"]
EVENTS = "PARALLAX_LOADTEST_EVENTS"
"""A file descriptor for lines of JSON: `progress` every second, and last `results`."""
REPORTED = "parallax"
"""Under this name workers' counts travel in locust's reports."""
LAST = "parallax_last"
REPORT_S = 10.0
"""How long a worker's last report may take beyond the drain time; locust sends one every three seconds."""
EVERY_S = 1.0


class Waves(LoadTestShape):
    """The plan's shape. In an open loop all callers are there from the begin, and due times follow the shape instead."""

    environment: Environment
    home: Callable[[], bool]
    """Whether everything that was counted is here."""

    def reset_time(self) -> None:
        """A test begins."""
        super().reset_time()  # type: ignore[no-untyped-call]
        _open(self.environment)

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many to start a second; None at the end."""
        session, plan = Caller.session, Caller.session.plan
        if session.over and Waves.home():
            return None
        if plan.rate is not None:
            everyone = sum(plan.callers(kind) for kind in plan.kinds)
            return everyone, everyone
        users = plan.users or 1
        return max(1, round(plan.warm_curve.level(session.elapsed or 0.0) * users)), users


def _arguments(parser: LocustArgumentParser, **_: object) -> None:
    parser.add_argument("--plan", default='{"rate": 20}', help="What to do, as JSON (see loadtest/plan.py).")
    parser.add_argument("--backend", default="", help="The backend to name where an address must name one.")


class Wiring:
    """Listens to an environment's events; locust hands some of them out without saying whose they are."""

    def __init__(self, environment: Environment) -> None:
        """Begin to listen."""
        self._environment = environment
        self._runner = _runner(environment)
        self._adds_up = not isinstance(self._runner, WorkerRunner)
        self._sends = not isinstance(self._runner, MasterRunner)
        self._home: set[str] = set()
        Waves.home = self.home
        heard = environment.events
        _listen(heard.test_start, self.started)
        _listen(heard.spawning_complete, self.spawned)
        _listen(heard.report_to_master, self.report)
        _listen(heard.worker_report, self.reported)
        _listen(heard.quit, self.ended)

    def started(self, **_: object) -> None:
        """Everything that takes time comes before the clock begins. A worker has the plan only now, from its master."""
        if self._adds_up:
            gevent.spawn(_tell, self._environment)
        else:
            _open(self._environment)
        if self._sends:
            Caller.session.prepare()
        if Caller.session.plan.rate is None:
            Caller.session.begin({}, sends=self._sends)

    def spawned(self, **_: object) -> None:
        """All callers of all processes are there."""
        Caller.session.begin(counts(self._runner.user_classes_count), sends=self._sends)

    def report(self, data: dict[str, Any], **_: object) -> None:
        """A worker's report goes out. Callers leave at the end by themselves, each with its last reply."""
        if hasattr(Caller, "session"):
            data[REPORTED] = Caller.session.take()
            data[LAST] = Caller.session.over and not self._runner.user_count

    def reported(self, client_id: str, data: Mapping[str, Any], **_: object) -> None:
        """A worker's report is here."""
        if REPORTED in data:
            Caller.session.add(data[REPORTED])
        if data.get(LAST):
            self._home.add(client_id)

    def home(self) -> bool:
        """Whether all workers have sent their last report: when it stops them, locust itself waits half a second for it."""
        if not isinstance(self._runner, MasterRunner):
            return True
        plan, elapsed = Caller.session.plan, Caller.session.elapsed or 0.0
        return len(self._home) >= self._runner.worker_count or elapsed > plan.warm_curve.seconds + plan.drain_s + REPORT_S

    def ended(self, **_: object) -> None:
        """The process is about to end."""
        if self._adds_up:
            Caller.session.add(Caller.session.take())
            _say("results", results=Caller.session.total.model_dump(mode="json"))


def _wire(environment: Environment, **_: object) -> None:
    Waves.environment = environment
    Wiring(environment)


def _open(environment: Environment) -> None:
    """A session for the test that begins."""
    options = environment.parsed_options
    if options is None:
        raise RuntimeError("locust has not read its arguments")
    plan = Plan.model_validate_json(options.plan)
    index = getattr(_runner(environment), "worker_index", 0)
    Caller.session = Session(plan, f"locust {index}", options.backend)
    environment.stop_timeout = plan.drain_s
    for kind in plan.kinds:
        CALLERS[kind].fixed_count = plan.callers(kind) if plan.rate is not None else 0
        CALLERS[kind].weight = max(1, round(1000 * plan.share(kind)))


def _tell(environment: Environment) -> None:
    """Say how it goes, while it goes."""
    session = Caller.session
    while session is Caller.session and not session.over:
        gevent.sleep(EVERY_S)
        if not isinstance(environment.runner, MasterRunner):
            session.add(session.take())
        total = session.total.all
        figures = {"ok": total.ok, "shed": total.shed, "failed": sum(total.failures.values()), "p99": total.took.percentile(0.99)}
        _say("progress", at_s=session.elapsed, users=_runner(environment).user_count, **figures)


def _say(event: str, **values: object) -> None:
    if descriptor := os.environ.get(EVENTS):
        with os.fdopen(int(descriptor), "w", closefd=False) as pipe:
            pipe.write(json.dumps({"event": event, **values}) + "\n")


def _runner(environment: Environment) -> Runner:
    if environment.runner is None:
        raise RuntimeError("locust has no runner yet")
    return environment.runner


def _listen(hook: Any, listener: Callable[..., None]) -> None:  # noqa: ANN401  # locust's hooks have no types
    hook.add_listener(listener)


_listen(events.init_command_line_parser, _arguments)
_listen(events.init, _wire)

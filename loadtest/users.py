"""The callers: locust users of each kind. They wait for their turn, send, and say what came of it."""

import json
import random
import time
from collections.abc import Mapping
from itertools import cycle
from typing import Any, ClassVar

import gevent
from locust import FastHttpUser, task
from locust.exception import StopUser

from loadtest.asks import ENDED, Ask
from loadtest.credentials import read_key
from loadtest.pacing import Turn
from loadtest.plan import Kind
from loadtest.reply_headers import read_server_timing, wait_for
from loadtest.session import Session
from loadtest.wire_clock import WireClock

POLL_S = (0.05, 1.0)
"""How often a scoring job is looked at: often at first, rarely in the end."""
HEADERS = {"Content-Type": "application/octet-stream", "Accept-Encoding": "identity"}


class Caller(FastHttpUser):
    """What all kinds have in common."""

    abstract = True
    insecure = False  # locust's default is not to look at certificates
    network_timeout = 60.0
    kind: ClassVar[Kind]
    session: ClassVar[Session]
    """Of this process; set when a test starts."""
    key_header: ClassVar[str] = "X-API-Key"

    def on_start(self) -> None:
        """Begin somewhere in the list: callers who all send the same image at a time would ask for the same work."""
        asks = self.session.asks[self.kind]
        first = random.Random(f"{self.session.plan.seed} {id(self)}").randrange(len(asks))  # noqa: S311
        self._asks = cycle([*asks[first:], *asks[:first]])
        key = read_key()
        self._headers = {self.key_header: key} if key else {}
        self.client.client.cookiejar = None  # no cookies, whose upkeep would take as long as all else here
        self._clock = WireClock(self.client.client.clientpool.get_client(str(self.client.base_url)))

    @task
    def call(self) -> None:
        """One request, when it is due."""
        turn = self.session.turn(self.kind)
        if turn is None:
            raise StopUser
        self.session.sent(self.kind, turn)
        self.play(next(self._asks), turn)

    def play(self, ask: Ask, turn: Turn) -> None:
        """Send one request and record it."""
        fate, (began, ended), reply = self.post(ask, turn)
        stages = read_server_timing(reply.get("server-timing", ""))
        self.session.answered(self.kind, turn, fate, began=began, ended=ended, stages=stages)
        if fate == "shed" and self.session.plan.rate is None:
            gevent.sleep(wait_for(reply.get("retry-after", "")))  # in an open loop others come all the same

    def post(self, ask: Ask, turn: Turn) -> tuple[str, tuple[float, float], Mapping[str, str]]:
        """Send, and return what became of it, from when to when, and the reply's headers. Locust's own statistics count alike."""
        headers = {**HEADERS, **ask.headers, **self._headers}
        body: Any = ask.body  # bytes are sent as they are, whatever locust's annotation says
        began = time.perf_counter()
        with self.client.post(ask.path, data=body, headers=headers, name=self.kind, catch_response=True) as reply:
            began, ended = self._clock.between(began, time.perf_counter())
            reply.request_meta["response_time"] = 1000 * (ended - turn.counts_from(began))
            if not reply.status_code:
                fate = f"no reply: {type(reply.error).__name__}"
            else:
                self.body = bytes(reply.content or b"")
                fate = ask.judge(reply.status_code, self.body)
            if fate in {"ok", "shed"}:
                reply.success()
            else:
                reply.failure(fate)
            return fate, (began, ended), reply.headers or {}


class Classify(Caller):
    """Asks one backend about an image."""

    kind = "classify"


class Compare(Caller):
    """Asks several backends about an image."""

    kind = "compare"


class CustomVision(Caller):
    """Asks as Custom Vision's SDK does."""

    kind = "customvision"
    key_header = "Prediction-Key"


class BadInput(Caller):
    """Sends what must be refused, and holds the refusal against the one that fits."""

    kind = "bad"


class Scoring(Caller):
    """Hands in a small set and follows the job to its end, which is what counts."""

    kind = "scoring"

    def play(self, ask: Ask, turn: Turn) -> None:
        fate, (began, _), _ = self.post(ask, turn)
        if fate == "ok":
            fate = self._follow(f"/v1/scorings/{json.loads(self.body)['id']}")
        self.session.answered(self.kind, turn, fate, began=began, ended=time.perf_counter(), stages={})

    def _follow(self, path: str) -> str:
        pause, longest = POLL_S
        while True:
            gevent.sleep(pause)
            pause = min(longest, 1.5 * pause)
            with self.client.get(path, headers=self._headers, name="scoring, a look", catch_response=True) as reply:
                if reply.status_code == 429:
                    reply.success()
                    continue
                if reply.status_code != 200:
                    reply.failure(f"status {reply.status_code}")
                    return f"a look at the job: {reply.status_code or type(reply.error).__name__}"
                state = str(json.loads(reply.content)["state"])
            if state in ENDED:
                return "ok" if state == "succeeded" else f"the job {state}"


CALLERS: Mapping[Kind, type[Caller]] = {one.kind: one for one in (Classify, Compare, CustomVision, Scoring, BadInput)}


def counts(by_class: Mapping[str, Any]) -> dict[Kind, int]:
    """Locust's count of users by class, by kind."""
    return {kind: int(by_class[one.__name__]) for kind, one in CALLERS.items() if by_class.get(one.__name__)}

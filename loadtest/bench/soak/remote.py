"""Calls of the backend whose service dies and comes back: refused while it is away, answered before and after."""

import time

import httpx

from loadtest.bench.beside import Beside
from loadtest.bench.cloud import PROBABILITIES
from loadtest.bench.soak.kills import Cloud, Kills
from loadtest.bench.soak.plan import Plan

EVERY_S = 0.5
TIMEOUT_S = 5.0
"""What the service is told to wait for one answer."""
AWAY = frozenset({502, 503, 504})
BEST = max(PROBABILITIES, key=lambda label: PROBABILITIES[label])


class RemoteCaller(Beside):
    """One call after the other, each over a connection of its own, so that every worker has its turn."""

    def __init__(self, url: str, image: bytes, cloud: Cloud, kills: Kills, plan: Plan) -> None:
        super().__init__(EVERY_S)
        self._address = f"{url}/v1/classify?backend=custom_vision"
        self._image = image
        self._cloud = cloud
        self._kills = kills
        # The breaker rests 5 s, then twice as long each time, and its last rest begins before the service is back.
        self._recovery_s = min(60.0, 2 * plan.down_s + 5) + TIMEOUT_S
        self._client = httpx.Client(trust_env=False, timeout=30, headers={"Connection": "close"})
        self._answered = 0
        self._refused = 0
        self._broken = 0
        self._late_s = 0.0
        """How long after the service was back a call was still refused."""

    def step(self) -> None:
        began = time.monotonic()
        try:
            reply = self._client.post(self._address, content=self._image)
        except httpx.TransportError:
            if not self._kills.excuse(time.monotonic()):
                raise
            self._broken += 1
            return
        if reply.status_code == httpx.codes.OK:
            self._answered += 1
            if reply.json()["predictions"][0]["label"] != BEST:
                self.unforeseen.append(f"custom_vision answered wrongly: {reply.text[:300]}")
        elif reply.status_code in AWAY and self._excused(began):
            self._refused += 1
        else:
            self.unforeseen.append(f"custom_vision answered {reply.status_code} while its service was there: {reply.text[:300]}")

    def told(self) -> str:
        broken = f", {self._broken} broke with a killed worker" if self._broken else ""
        return (
            f"Calls of `custom_vision`: {self._answered:,} answered, {self._refused:,} refused with 502, 503 or 504 while its "
            f"service was away or up to {self._late_s:.0f} s after{broken}."
        )

    def stop(self) -> None:
        super().stop()
        self._client.close()

    def _excused(self, began: float) -> bool:
        for down, back in self._cloud.away:
            if began >= down - TIMEOUT_S and (back is None or began <= back + self._recovery_s):
                if back is not None:
                    self._late_s = max(self._late_s, time.monotonic() - back)
                return True
        return False

"""A published iteration of Azure Custom Vision, asked by its prediction API (v3.1), which is called until 25 September 2028.

Contract: Azure/azure-rest-api-specs, specification/cognitiveservices/data-plane/CustomVision/Prediction/stable/v3.1. Limits:
learn.microsoft.com/azure/ai-services/custom-vision-service/limits-and-quotas. Verified against the contract and what the real SDK
sends, not against the live service.
"""

from collections.abc import Mapping
from typing import Any

from models import imaging
from models.custom_vision_limits import MAX_PREDICTION_BYTES, MAX_SIDE
from models.portable import portable
from service.backends.breaker import Breaker
from service.backends.custom_vision_errors import explain
from service.backends.elsewhere import Elsewhere, one_of
from service.backends.quota import Terms
from service.backends.remote import Door, Remote
from service.backends.turnstile import PERIOD_S, Turnstile
from service.database import Database
from service.errors import BackendFailed
from service.settings import Settings
from service.tally import Tally

MAX_ATTEMPTS = 8
SLACK_S = 5.0
"""How long a place may be held in hand before its request begins, at most."""


class Quota(Turnstile):
    """The rate and the budget of the prediction resource, in the service's database. Opened by `open`, ended by `close`."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        chosen = settings.custom_vision
        database = Database(settings)
        lease_s = chosen.attempt_timeout_s + PERIOD_S + SLACK_S
        terms = Terms(f"custom_vision {chosen.host}", chosen.allowed_rate, chosen.monthly_calls, lease_s)
        super().__init__(database, terms, chosen.attempt_timeout_s, tally)

    async def close(self) -> None:
        """Give back all that is not used any more, then the connections."""
        await super().close()
        await self._database.close()


class CustomVisionBackend(Elsewhere):
    """Images as they are, one a call, under the rate of its tier and a month's budget, both shared through the database."""

    max_check_s = 900.0  # each look counts as a call

    def __init__(self, settings: Settings, tally: Tally, door: Door | None = None) -> None:
        """Needs `settings.custom_vision.endpoint`. `tally` goes on where the backend before this one left off.

        `door`: where to wait for the rate and the budget, if another process keeps them.
        """
        chosen = settings.custom_vision
        address = chosen.address
        if address is None:
            raise BackendFailed("PARALLAX_CUSTOM_VISION__ENDPOINT is not set.")
        key = chosen.key.get_secret_value()
        self._settings = chosen
        self._limits = imaging.Limits(settings.max_body_bytes, settings.max_pixels)
        self._turnstile = Quota(settings, tally) if door is None else None
        tally.metered = True
        tally.usd_per_call = None if chosen.usd_per_1000 is None else chosen.usd_per_1000 / 1000
        self._breaker = Breaker(chosen.host)
        remote = Remote(
            "custom_vision",
            address,
            {"Prediction-Key": key, "Content-Type": "application/octet-stream", "Accept": "application/json"},
            secret=key,
            timeout_s=chosen.timeout_s,
            explain=explain,
            attempt_s=chosen.attempt_timeout_s,
            max_attempts=MAX_ATTEMPTS,
            breaker=self._breaker,
            door=door or self._turnstile,
            tally=tally,
        )
        super().__init__("custom_vision", chosen.labels, chosen.max_in_flight, remote)
        self.looks = door is None  # one call for all who share the door is enough

    async def start(self) -> None:
        """As every remote backend; the database is first asked when there is something to send."""
        if self._turnstile is not None:
            self._turnstile.open()
        await super().start()

    def prepare(self, data: bytes) -> bytes:
        return portable(data, self._limits, MAX_PREDICTION_BYTES, MAX_SIDE)

    def body(self, image: bytes) -> bytes:
        return image

    def probabilities(self, reply: object) -> Mapping[str, float]:
        """By tag name, in the order of the names: the service sorts by probability. A negative tag is a label like others."""
        predictions = reply.get("predictions") if isinstance(reply, dict) else None
        if not isinstance(predictions, list) or not all(isinstance(one, dict) for one in predictions):
            raise ValueError(
                'answered otherwise than with {"predictions": [{"tagName": ..., "probability": ...}]}, as the service does'
            )
        if any(one.get("boundingBox") is not None for one in predictions):
            raise ValueError("answered with boxes: the project detects objects, and this asks classifiers")
        found = one_of([one.get("tagName") for one in predictions], [one.get("probability") for one in predictions])
        return {label: found[label] for label in sorted(found)}

    def facts(self) -> Mapping[str, Any]:
        chosen, tally = self._settings, self.tally
        return {
            "project": str(chosen.project),
            "published_name": chosen.published_name,
            "store": chosen.store,
            "timeout_s": chosen.timeout_s,
            "calls_per_second": chosen.allowed_rate,
            "breaker": self._breaker.state,
            "calls": dict(tally.calls),
            "retries": tally.retries,
            "month": {
                "calls": tally.month_calls,
                "budget": chosen.monthly_calls,
                "usd": None if chosen.usd_per_1000 is None else round(tally.month_calls * chosen.usd_per_1000 / 1000, 6),
            },
            "usd_per_1000": chosen.usd_per_1000,
        }

    async def close(self) -> None:
        """Close the pool, then give back what the quota still holds for it."""
        await super().close()
        if self._turnstile is not None:
            await self._turnstile.close()

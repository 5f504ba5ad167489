"""What goes wrong at the stand-in: now and then, by a seeded draw, or as a test scripts it."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["500", "html", "empty", "null", "capital", "hang", "redirect"]

HTML = "<html><head><title>502 Bad Gateway</title></head><body>The web server received an invalid response.</body></html>"


@dataclass(frozen=True)
class Reply:
    """What to answer instead of predictions."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False
    """Never answer."""


def reply_of(kind: Kind, elsewhere: str = "http://localhost:1/") -> Reply:
    """The shapes that replies were seen in."""
    said = {"code": "ErrorUnknown", "message": "The service had an internal error."}
    return {
        "500": Reply(500, _json(said)),
        "html": Reply(200, HTML, {"Content-Type": "text/html"}),
        "empty": Reply(502),
        "null": Reply(503, "null", {"Content-Type": "application/json"}),
        "capital": Reply(500, _json({key.capitalize(): value for key, value in said.items()})),
        "hang": Reply(hangs=True),
        "redirect": Reply(307, headers={"Location": elsewhere}),
    }[kind]


def problem(status: int, code: str, message: str) -> Reply:
    """The service's own error: flat."""
    return Reply(status, _json({"code": code, "message": message}))


def gateway(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error of the gateway before it: nested."""
    return Reply(status, _json({"error": {"code": str(status), "message": message}}), headers or {})


class Faults:
    """First the script, reply by reply, then draws."""

    def __init__(self, rates: Mapping[Kind, float] | None = None, seed: int = 0) -> None:
        """`rates`: the share of requests that each kind befalls."""
        self.rates = dict(rates or {})
        self.script: list[Reply] = []
        self.always: Reply | None = None
        self._draw = random.Random(seed)

    def next(self) -> Reply | None:
        """What goes wrong with the next request, if anything does."""
        if self.script:
            return self.script.pop(0)
        if self.always is not None:
            return self.always
        drawn = self._draw.random()
        for kind, rate in self.rates.items():
            drawn -= rate
            if drawn < 0:
                return reply_of(kind)
        return None


def parsed(text: Sequence[str]) -> dict[Kind, float]:
    """Rates from words such as `500=0.05`."""
    found: dict[Kind, float] = {}
    for word in text:
        kind, _, rate = word.partition("=")
        reply_of(kind)  # type: ignore[arg-type]  # which raises for another
        found[kind] = float(rate)  # type: ignore[index]  # it is one
    return found


def _json(value: object) -> str:
    return json.dumps(value)

"""Ids of requests: ULIDs (github.com/ulid/spec), which sort by time.

One is made for every request, so most of it is made once: a library that draws 80 random bits and encodes 130 for each takes
longer than all routing does.
"""

import secrets
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, five bits a character."""

PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
"""Ten bits at a time."""

COUNT_BITS = 20
"""The lowest of the 80 bits beside the time count upwards within a millisecond; those above are drawn with it."""


class RequestIds:
    """Calling it gives the next id, 26 characters; each is greater than the one before."""

    def __init__(self) -> None:
        self._millisecond = -1
        self._head = ""
        self._count = 0

    def __call__(self) -> str:
        now = time.time_ns() // 1_000_000
        self._count += 1
        if now > self._millisecond:
            self._begin(now)
        elif self._count >> COUNT_BITS:  # or the clock was set back and stays there: go on where it was
            self._begin(self._millisecond + 1)
        return f"{self._head}{PAIRS[self._count >> 10]}{PAIRS[self._count & 1023]}"

    def _begin(self, millisecond: int) -> None:
        self._millisecond = millisecond
        self._head = _encode(millisecond, 5) + _encode(secrets.randbits(80 - COUNT_BITS), 6)
        self._count = 0


def _encode(value: int, pairs: int) -> str:
    return "".join([PAIRS[value >> 10 * place & 1023] for place in reversed(range(pairs))])

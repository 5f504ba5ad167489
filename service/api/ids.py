"""Ids of requests: ULIDs (github.com/ulid/spec), which sort by time.

One is made for every request, so most of it is made once, at the start and every second: a library that draws 80 random bits and
encodes 130 for each takes longer than all routing does.
"""

import secrets
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, five bits a character."""

PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
"""Ten bits at a time."""

COUNT_BITS = 20
"""The lowest of the 80 bits beside the time count upwards; those above are drawn once for each process."""


class RequestIds:
    """Calling it gives the next id, 26 characters; each is greater than the one before."""

    def __init__(self) -> None:
        self._millisecond = 0
        self._second = -1
        """Of 1,024 ms."""
        self._head = ""
        self._own = _encode(secrets.randbits(80 - COUNT_BITS), 6)
        self._count = 0

    def __call__(self) -> str:
        now = time.time_ns() // 1_000_000
        self._count += 1
        if now > self._millisecond:
            self._millisecond, self._count = now, 0
        elif self._count >> COUNT_BITS:  # or the clock was set back and stays there: go on where it was
            self._millisecond, self._count = self._millisecond + 1, 0
        second = self._millisecond >> 10
        if second != self._second:
            self._second, self._head = second, _encode(second, 4)
        count = self._count
        return f"{self._head}{PAIRS[self._millisecond & 1023]}{self._own}{PAIRS[count >> 10]}{PAIRS[count & 1023]}"


def _encode(value: int, pairs: int) -> str:
    return "".join([PAIRS[value >> 10 * place & 1023] for place in reversed(range(pairs))])

"""Whose turn it is: interactive work before background work, and within each the callers in turn, not their requests.

Round robin over one queue per caller (Nagle, RFC 970, 1985): who sends a thousand requests waits behind their own, nobody
else does.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

BACKGROUND_TURN = 20
"""One batch in so many is of background work while interactive work waits, so that a scoring run gets on even then."""

LEAVE_ROOM_S = 10.0
"""How long after urgent work more of it is expected: as long, background work leaves room for it."""

BACKGROUND_SHARE = 3
"""One place in so many is enough for background work then."""


class FairQueue(Generic[Item]):
    """Items that wait. Each is hashable and stands in the queue once."""

    def __init__(self) -> None:
        self.interactive = Turns[Item]()
        self.background = Turns[Item]()
        self._passed_over = 0
        self._urgent = -math.inf
        """When interactive work came last."""

    @property
    def size(self) -> int:
        """How many wait."""
        return self.interactive.size + self.background.size

    def __iter__(self) -> Iterator[Item]:
        """All, in no particular order."""
        yield from self.interactive
        yield from self.background

    def places(self, most: int, now: float) -> int:
        """Of `most` batches side by side, how many may be under way: where urgent work comes, background has few."""
        return max(1, most // BACKGROUND_SHARE) if not self.interactive.size and self.expects(now) else most

    def expects(self, now: float) -> bool:
        """Whether urgent work came a short while ago, and more of it will. `now`: seconds on the clock of `push`."""
        return now - self._urgent < LEAVE_ROOM_S

    def push(self, item: Item, caller: str, *, background: bool, now: float = -math.inf) -> None:
        """Put an item at the end of its caller's queue. `now`: seconds on a clock of whoever calls this."""
        if not background:
            self._urgent = max(self._urgent, now)
        (self.background if background else self.interactive).push(item, caller)

    def discard(self, item: Item, caller: str, *, background: bool) -> None:
        """Take an item out wherever it stands; if it was taken already, do nothing."""
        (self.background if background else self.interactive).discard(item, caller)

    def choose(self) -> "Turns[Item]":
        """Whose turn the next batch is: one kind's alone, so that urgent images do not wait for a batch that others fill."""
        if not self.background.size:
            return self.interactive
        if self.interactive.size:
            self._passed_over += 1
            if self._passed_over < BACKGROUND_TURN:
                return self.interactive
        self._passed_over = 0
        return self.background


class Turns(Generic[Item]):
    """Round robin over callers; the first of the dictionary is next."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, OrderedDict[Item, None]] = OrderedDict()
        self.size = 0

    def __iter__(self) -> Iterator[Item]:
        for items in self._callers.values():
            yield from items

    def push(self, item: Item, caller: str) -> None:
        """Put an item at the end of its caller's queue."""
        self._callers.setdefault(caller, OrderedDict())[item] = None
        self.size += 1

    def pop(self) -> Item:
        """Take the item whose turn it is. Raises `IndexError` if nothing waits."""
        if not self.size:
            raise IndexError("nothing waits")
        caller, items = next(iter(self._callers.items()))
        item, _ = items.popitem(last=False)
        self.size -= 1
        if items:
            self._callers.move_to_end(caller)
        else:
            del self._callers[caller]
        return item

    def discard(self, item: Item, caller: str) -> None:
        """Take an item out, if it is there."""
        items = self._callers.get(caller)
        if items is None or item not in items:
            return
        del items[item]
        self.size -= 1
        if not items:
            del self._callers[caller]

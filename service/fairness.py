"""Whose turn it is: interactive work before background work, and within each the callers in turn, not their requests.

Round robin over one queue per caller (Nagle, RFC 970, 1985): who sends a thousand requests waits behind their own, nobody
else does.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

BACKGROUND_TURN = 20
"""One turn in so many goes to background work while interactive work waits, so that a scoring run gets on even then."""


class FairQueue(Generic[Item]):
    """Items that wait. Each is hashable and stands in the queue once."""

    def __init__(self) -> None:
        self._interactive = _Turns[Item]()
        self._background = _Turns[Item]()
        self._since_background = 0
        self.size = 0
        """How many wait."""

    def __iter__(self) -> Iterator[Item]:
        """All, in no particular order."""
        for turns in (self._interactive, self._background):
            yield from turns

    def push(self, item: Item, caller: str, *, background: bool) -> None:
        """Put an item at the end of its caller's queue."""
        (self._background if background else self._interactive).push(item, caller)
        self.size += 1

    def pop(self) -> Item:
        """Take the item whose turn it is. Raises `IndexError` if nothing waits."""
        turns = self._interactive
        if self._background.size:
            self._since_background += 1
            if not turns.size or self._since_background >= BACKGROUND_TURN:
                self._since_background = 0
                turns = self._background
        item = turns.pop()
        self.size -= 1
        return item

    def discard(self, item: Item, caller: str, *, background: bool) -> None:
        """Take an item out wherever it stands; if it was taken already, do nothing."""
        self.size -= (self._background if background else self._interactive).discard(item, caller)


class _Turns(Generic[Item]):
    """Round robin over callers; the first of the dictionary is next."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, OrderedDict[Item, None]] = OrderedDict()
        self.size = 0

    def __iter__(self) -> Iterator[Item]:
        for items in self._callers.values():
            yield from items

    def push(self, item: Item, caller: str) -> None:
        self._callers.setdefault(caller, OrderedDict())[item] = None
        self.size += 1

    def pop(self) -> Item:
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

    def discard(self, item: Item, caller: str) -> int:
        items = self._callers.get(caller)
        if items is None or item not in items:
            return 0
        del items[item]
        self.size -= 1
        if not items:
            del self._callers[caller]
        return 1

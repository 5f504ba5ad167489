"""Locks between processes that the kernel gives back when their holder dies, however it died."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for the lock of a file, which is made if need be, and hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_hold(path: Path) -> "Held | None":
    """Take the lock of a file now, or None if another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Held(path)
    return lock if lock.taken else None


class Held:
    """A lock that is held until it is let go, or until the process ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.taken = True
        except BlockingIOError:
            self._file.close()
            self.taken = False

    def let_go(self) -> None:
        """Give it back."""
        self._file.close()


def is_held(path: Path) -> bool:
    """Whether some process holds the lock of a file that exists."""
    lock = Held(path)
    if lock.taken:
        lock.let_go()
    return not lock.taken

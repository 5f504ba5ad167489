"""Which process works on a job, and whether it is still there, where that can be known.

Each process locks a file of its own in the data folder, as long as it lives: the kernel unlocks that of one that was killed. So
whoever shares the folder, as the processes that share an SQLite file do, knows at once, and need not wait for a lease to end.
"""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


class Owner:
    """This process. `open` before anything else, `close` at the end."""

    def __init__(self, data_dir: Path) -> None:
        """Its name says where it runs, for people who look."""
        self._folder = data_dir / "scoring"
        self.name = f"{socket.gethostname()[:60]}-{os.getpid()}-{uuid4().hex[:12]}"
        self._lock: int | None = None

    def open(self) -> None:
        """Be alive."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._path(self.name), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def dead(self, name: str) -> bool:
        """Whether a process of that name is gone."""
        if name == self.name:
            return False
        path = self._path(name)
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(lock)

    def close(self) -> None:
        """Be gone."""
        if self._lock is not None:
            with suppress(OSError):
                self._path(self.name).unlink()
            os.close(self._lock)
            self._lock = None

    def _path(self, name: str) -> Path:
        return self._folder / f"{Path(name).name}.lock"

"""What is left of a run of the command line that was killed: a folder for each command, under the digest of what it asked for.

Each has a database of its own, so that no server that shares the data folder takes the run for one of its jobs.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.errors import UsageError


def folder_of(home: Path, *asked: object) -> Path:
    """The folder for what was asked for: what can be told apart as text."""
    return home / hashlib.sha256(json.dumps(list(map(str, asked))).encode()).hexdigest()[:24]


@contextmanager
def held(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Have a folder for oneself, empty if it is to be `fresh`. Raises `UsageError` if another process has it."""
    lock = _lock(folder)
    if lock is None:
        raise UsageError("The same command is at work in another process. Wait for it, or change an option, as --seed.")
    try:
        if fresh:
            for path in folder.iterdir():
                if path.name != "lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield
    finally:
        os.close(lock)


def forget(folder: Path) -> None:
    """Delete what is left of a run."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep(home: Path, keep_s: float) -> None:
    """Delete what nobody came back for in so many seconds."""
    for folder in home.iterdir() if home.is_dir() else ():
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > keep_s and (lock := _lock(folder)) is not None:
                forget(folder)
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock it, until the process ends or closes this; None if another has it."""
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)  # whoever had it has deleted it meanwhile

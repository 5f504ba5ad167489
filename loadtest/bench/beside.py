"""What goes on beside the load: threads that do a thing again and again until they are told to stop."""

import threading
import time
from abc import ABC, abstractmethod


class Beside(ABC):
    """A thread. Whatever it did not foresee is kept, and it goes on."""

    def __init__(self, every_s: float) -> None:
        self.unforeseen: list[str] = []
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin; the first step comes after the first pause."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the step under way is done."""
        self._over.set()
        self._thread.join()

    @abstractmethod
    def step(self) -> None:
        """Do it once. What it raises is unforeseen."""

    @abstractmethod
    def told(self) -> str:
        """What came of it, in a sentence."""

    def _run(self) -> None:
        due = time.monotonic() + self._every_s
        while not self._over.wait(max(0.0, due - time.monotonic())):
            try:
                self.step()
            except Exception as exc:  # noqa: BLE001  # that is what it is here to find
                self.unforeseen.append(f"{type(self).__name__}: {type(exc).__name__}: {exc}")
            due = max(due + self._every_s, time.monotonic())

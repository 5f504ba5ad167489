"""Puts versions into a folder of the store, sound and corrupt ones, as whoever deploys would."""

import os
import threading
import time
from pathlib import Path
from shutil import copytree, rmtree

from models.card_files import read_card, write_card
from models.metadata import CARD_FILE

KEPT = 3
"""Versions left in the store, beside the first: older ones are deleted."""


class Deployer(threading.Thread):
    """Each version is complete and comes by one rename. It is the first one under another number."""

    def __init__(self, folder: Path, first: str, every_s: float, corrupt_every_s: float) -> None:
        """`folder`: of the model. `first`: its only version. A corrupt version has one bit of its weights turned."""
        super().__init__(daemon=True)
        self._folder = folder
        self._first = folder / first
        self._every_s = every_s
        self._corrupt_every_s = corrupt_every_s
        self._over = threading.Event()
        self.made = 0
        self.newest = first
        """The newest sound version."""

    def run(self) -> None:
        began = time.monotonic()
        sound, corrupt = 1, 1
        while not self._over.wait(0.05):
            passed = time.monotonic() - began
            if passed >= sound * self._every_s:
                sound += 1
                self._deploy(corrupt=False)
            if passed >= corrupt * self._corrupt_every_s:
                corrupt += 1
                self._deploy(corrupt=True)

    def stop(self) -> None:
        """Make no more."""
        self._over.set()
        self.join()

    def _deploy(self, *, corrupt: bool) -> None:
        self.made += 1
        number = int(self._first.name) + self.made
        workspace = self._folder.parent / f".new-{number}" / str(number)
        copytree(self._first, workspace, copy_function=os.link)
        card = read_card(self._first).model_copy(update={"version": str(number)})
        (workspace / CARD_FILE).unlink()
        write_card(workspace, card)
        if corrupt:
            model = workspace / card.variants[0].file
            data = bytearray(model.read_bytes())
            data[len(data) // 2] ^= 1
            model.unlink()
            model.write_bytes(data)
        else:
            self.newest = str(number)
        workspace.rename(self._folder / str(number))
        rmtree(workspace.parent)
        old = self._folder / str(number - KEPT)
        if number - KEPT > int(self._first.name) and old.exists():
            rmtree(old)

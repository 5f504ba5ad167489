"""The store: folders `<name>/<version>/` of what could be served.

Every read stands on its own: a version that is broken or half-written is reported beside the sound ones and harms none of them.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from models.card_files import read_card, write_card
from models.errors import BrokenModel, ModelError, UnknownModel, UsageError
from models.metadata import CARD_FILE, ModelCard, StoredFile, check_name, file_sha256


@dataclass(frozen=True)
class StoredModel:
    """One sound version: its card was read, its files were not verified yet."""

    card: ModelCard
    folder: Path

    def verify(self, files: Sequence[StoredFile] | None = None) -> None:
        """Compare files (None: all of the card) with their digests. Raises `BrokenModel`."""
        for file in self.card.files if files is None else files:
            path = self.folder / file.file
            where = f"{self.card.name}/{self.card.version}/{file.file}"
            try:
                found = file_sha256(path)
            except OSError as exc:
                raise BrokenModel(f"{where} can't be read: {exc.strerror or exc}") from exc
            if found != file.sha256:
                raise BrokenModel(f"{where} is not the file that {self.card.name}'s card describes: its SHA-256 differs")


@dataclass(frozen=True)
class BrokenVersion:
    """A folder that looks like a version and is none."""

    name: str
    version: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a look at the store found, names in order, versions by number."""

    models: list[StoredModel]
    broken: list[BrokenVersion]


Stamps: TypeAlias = Mapping[tuple[str, str], tuple[int, int, int]]
"""Of every complete version, by name and version: what of its card's file changes when it is written anew."""


class Repository:
    """A folder of models."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Names that have at least one folder of a version, sound or not."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _is_name(path) and self._numbers(path.name))

    def scan(self) -> Listing:
        """Read every card."""
        models: list[StoredModel] = []
        broken: list[BrokenVersion] = []
        for name in self.names():
            for number in self._numbers(name):
                try:
                    models.append(self._read(name, number))
                except ModelError as exc:
                    broken.append(BrokenVersion(name, str(number), str(exc)))
        return Listing(models, broken)

    def stamps(self) -> Stamps:
        """Tell whether anything changed since the last look, without reading a file. A folder without a card is not there yet."""
        found: dict[tuple[str, str], tuple[int, int, int]] = {}
        for name in self.names():
            for number in self._numbers(name):
                with suppress(OSError):
                    facts = (self.root / name / str(number) / CARD_FILE).stat()
                    found[name, str(number)] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        return found

    def get(self, name: str, version: str | None = None) -> StoredModel:
        """A version, or the newest sound one. Raises `UnknownModel` or, for a version asked for by number, `BrokenModel`."""
        numbers = self._numbers(name) if name in self.names() else []
        if version is not None:
            if version not in map(str, numbers):
                raise UnknownModel(f"there is no {name}/{version} in {self.root}; {self._offer(name, numbers)}")
            return self._read(name, int(version))
        for number in reversed(numbers):
            try:
                return self._read(name, number)
            except BrokenModel:
                continue
        raise UnknownModel(f"there is no sound version of {name!r} in {self.root}; {self._offer(name, numbers)}")

    def check_labels(self, name: str, labels: Sequence[str]) -> None:
        """Refuse to put other labels under a name that is taken. Raises `UsageError`."""
        try:
            taken = self.get(name).card.labels
        except UnknownModel:
            return
        if taken != list(labels):
            raise UsageError(
                f"{name} names {', '.join(taken)}; this data has {', '.join(labels)}. "
                "Give the new model a name of its own with --name, so that it does not replace the other."
            )

    def add(self, card: ModelCard, files: Path) -> StoredModel:
        """Move a complete folder into the store as the next version of `card.name`; the card's own version is ignored.

        The folder appears in one step (rename), so no reader ever sees half of it. `files` must stand on the same file
        system: `workspace` gives such a folder.
        """
        self.check_labels(card.name, card.labels)
        parent = self.root / check_name(card.name)
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            version = str(max(self._numbers(card.name), default=0) + 1)
            numbered = card.model_copy(update={"version": version})
            write_card(files, numbered)
            try:
                files.rename(parent / version)
            except OSError:
                if (parent / version).exists():
                    continue  # another run took this number
                raise
            return StoredModel(numbered, parent / version)

    def workspace(self) -> Path:
        """A new, empty folder beside the models, which no listing shows."""
        self.root.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        folder.chmod(0o755)
        return folder

    def update(self, card: ModelCard) -> None:
        """Replace the card of a stored version, atomically."""
        write_card(self.get(card.name, card.version).folder, card)

    def extend(self, card: ModelCard, files: Path) -> StoredModel:
        """Add what is in a folder to a stored version, and replace its card in the end: readers see it as it was or as it is.

        What the card in place vouches for must stay as it is until then. Raises `UsageError` for a file of the same name.
        """
        stored = self.get(card.name, card.version)
        standing = {file.file for file in stored.card.files}
        if taken := sorted(standing & {path.name for path in files.iterdir()}):
            raise UsageError(
                f"{card.name}/{card.version} has {', '.join(taken)} already; a file that was served is never replaced"
            )
        for path in list(files.iterdir()):
            path.rename(stored.folder / path.name)
        write_card(stored.folder, card)
        for name in standing - {file.file for file in card.files}:
            (stored.folder / name).unlink()
        return StoredModel(card, stored.folder)

    def delete(self, name: str, version: str) -> None:
        """Remove one version, broken ones too. Raises `UnknownModel`."""
        numbers = self._numbers(name) if name in self.names() else []
        if version not in map(str, numbers):
            raise UnknownModel(f"there is no {name}/{version} in {self.root}; {self._offer(name, numbers)}")
        folder = self.root / name / version
        going = self.workspace() / version
        folder.rename(going)  # gone for readers at once, however long the removal takes
        shutil.rmtree(going.parent)
        if not any((self.root / name).iterdir()):
            (self.root / name).rmdir()

    def _read(self, name: str, number: int) -> StoredModel:
        folder = self.root / name / str(number)
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise BrokenModel(f"{name}/{number} is a link that leaves the store")
        return StoredModel(read_card(folder), folder)

    def _numbers(self, name: str) -> list[int]:
        return (
            sorted(int(path.name) for path in (self.root / name).iterdir() if _is_version(path))
            if (self.root / name).is_dir()
            else []
        )

    def _offer(self, name: str, numbers: Sequence[int]) -> str:
        if numbers:
            return f"versions of {name}: {', '.join(map(str, numbers))}"
        return f"names: {', '.join(self.names()) or 'none'}"


def _is_name(path: Path) -> bool:
    try:
        check_name(path.name)
    except ValueError:
        return False
    return path.is_dir()


def _is_version(path: Path) -> bool:
    return path.name.isascii() and path.name.isdigit() and not path.name.startswith("0") and path.is_dir()

"""Where a set lies that was named on the command line."""

from dataclasses import dataclass
from pathlib import Path

from models.errors import UsageError
from service.scoring.options import MAX_TITLE


@dataclass(frozen=True)
class LocalSet:
    """A file or a folder of this machine, and which of its splits is meant."""

    path: Path
    """Links resolved."""
    split: str | None

    @property
    def name(self) -> str:
        """Within the folder that it lies in."""
        return f"{self.path.name}#{self.split}" if self.split else self.path.name

    @property
    def title(self) -> str:
        """For people."""
        return self.name[:MAX_TITLE]

    @property
    def state(self) -> tuple[int, int] | None:
        """What tells that a file is another than it was; None for a folder, whose images nobody looks at for that."""
        found = self.path.stat()
        return (found.st_size, found.st_mtime_ns) if self.path.is_file() else None


def local_set(dataset: str) -> LocalSet:
    """What `PATH` or `PATH#SPLIT` means. Raises `UsageError`."""
    path, split = Path(dataset), ""
    if not path.exists():
        before, _, split = dataset.rpartition("#")
        path = Path(before or dataset)
    if not path.exists():
        raise UsageError(
            f"There is no {dataset}. A set is a zip or a folder of class folders, or a JSONL file of image_url and label. "
            "For one of a server, say --server URL --on-server."
        )
    path = path.resolve()
    if not path.name or "#" in path.name:
        raise UsageError(f"{path} can't be a set: it needs a name, without a #.")
    return LocalSet(path, split or None)

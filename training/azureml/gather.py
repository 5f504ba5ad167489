"""Several sources of labelled images as one zip, to be sent to where a job runs: thousands of small files take far longer."""

import hashlib
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from models.datasets import open_dataset
from models.errors import DatasetError
from training.azureml.prepare import Progress, expanded


def gather(
    sources: Sequence[str],
    folder: Path,
    *,
    left_out: Sequence[str] = (),
    progress: Progress = lambda _text, _total: lambda: None,
) -> Path:
    """A folder inside `folder`, named after what is in it, that holds `photos.zip` of class folders; made once.

    `left_out`: CLASS/FILE, in none of the sources a `DatasetError`. Raises `DatasetError`.
    """
    with ExitStack() as stack:
        sets = [stack.enter_context(open_dataset(source)) for source in expanded(sources)]
        facts = "\n".join([*(f"{one.sha256()} {len(one)}" for one in sets), *sorted(left_out)])
        made = folder / hashlib.sha256(facts.encode()).hexdigest()[:16]
        target = made / "photos.zip"
        if target.exists():
            return made
        made.mkdir(parents=True, exist_ok=True)
        part = made / ".part"
        advance = progress("gather", sum(map(len, sets)))
        taken: set[str] = set()
        missing = set(left_out)
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:  # images are compressed as they are
            for number, one in enumerate(sets):
                for image in one:
                    advance()
                    if image.path in left_out:
                        missing.discard(image.path)
                        continue
                    name = image.path
                    while name in taken:
                        name = f"{image.label}/{number}-{name.rpartition('/')[2]}"
                    taken.add(name)
                    archive.writestr(zipfile.ZipInfo(name), image.data)
        if missing:
            raise DatasetError(f"to be left out, but in none of the sources: {', '.join(sorted(missing))}")
        part.replace(target)
    return made

"""From what is asked for to a job: which images, which labels, which backends in which versions."""

import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from service.domain import Identity
from service.errors import NotReady, UnmatchedLabels
from service.registry import Registry
from service.scoring.addresses import check_clients, is_address
from service.scoring.jobs import NewJob, Task
from service.scoring.library import Library
from service.scoring.options import Options


def pinned(registry: Registry, names: Sequence[str] | None) -> list[Identity]:
    """The backends as they are served now; none named: all whose calls cost nothing. Raises `UnknownBackend` or `NotReady`."""
    if names is None:
        chosen = [one for one in registry.running if one.backend.tally is None or not one.backend.tally.metered]
        names = [one.identity.name for one in chosen]
        if not names:
            registry.get()  # says why nothing is loaded
            raise NotReady("Every backend here costs money by the call. Name those that shall be scored, in `backends`.")
    return [registry.get(name).identity for name in dict.fromkeys(names)]


def plan(new_id: str, caller: str, key: str | None, options: Options, backends: Sequence[Identity], library: Library) -> NewJob:
    """Make a job of a request. Blocks, as it lists the set. Raises `UnknownDataset`, `DatasetError` or `UnmatchedLabels`."""
    name = options.dataset or ""
    where = library.find(name)
    source = library.open(where)
    try:
        every, prefix = source.tasks(), source.prefix
    finally:
        source.close()
    check_clients(task.image for task in every if is_address(task.image))
    tasks = _labelled(every, options, backends)
    labels = sorted({task.label for task in tasks if task.label is not None})
    random.Random(options.seed).shuffle(tasks)  # noqa: S311  # an order, not a secret
    tasks = tasks[: options.limit]
    dataset: dict[str, Any] = {
        "name": name,
        "kind": where.kind,
        "images": len(tasks),
        "of": len(every),
        "labelled": bool(labels),
        "labels": labels,
        "prefix": prefix,
    }
    return NewJob(new_id, caller, options, dataset, backends, tasks, *marks(caller, key, options))


def marks(caller: str, key: str | None, options: Options) -> tuple[str, str | None]:
    """Digests of what is asked for, and of the idempotency key under which a caller asks."""
    asked = hashlib.sha256(options.model_dump_json().encode()).hexdigest()
    return asked, None if key is None else hashlib.sha256(json.dumps([caller, key]).encode()).hexdigest()


def _labelled(tasks: Sequence[Task], options: Options, backends: Sequence[Identity]) -> list[Task]:
    """Tasks with labels in the backends' words. Raises `UnmatchedLabels`, which names all that do not match."""
    folders = {task.label for task in tasks if task.label is not None}
    known = [one for one in backends if one.labels]  # a remote one may not know its own before its first answer
    mapped = {folder: options.label_map.get(folder, folder) for folder in folders}
    if options.labelled is False or (options.labelled is None and _one_pile(mapped, options, known)):
        return [Task(task.image, None) for task in tasks]
    if not folders and options.labelled:
        raise UnmatchedLabels("The set has no labels: its images stand in no class folder. Leave `labelled` out.")
    lacking = []
    for one in known:
        missing = sorted(folder for folder, label in mapped.items() if label not in one.labels)
        if missing:
            lacking.append(
                f"{one.name} does not know {', '.join(map(ascii, missing[:20]))}; it knows {', '.join(one.labels[:40])}"
            )
    if lacking:
        raise UnmatchedLabels(f"{'; '.join(lacking)}. Say in `label_map` which of the backends' labels each class is.")
    return [Task(task.image, None if task.label is None else mapped[task.label]) for task in tasks]


def _one_pile(mapped: dict[str, str], options: Options, known: Sequence[Identity]) -> bool:
    """Whether the only folder is a place to put images in and no class: nobody knows its name."""
    if len(mapped) != 1 or options.label_map or not known:
        return False
    return not any(label in one.labels for label in mapped.values() for one in known)

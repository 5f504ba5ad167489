"""Taking files out of a version that serving does without, as before it is shipped."""

import shutil
from collections.abc import Sequence

from models.errors import UsageError
from models.repository import Repository, StoredModel


def slim(repository: Repository, stored: StoredModel, without: Sequence[str]) -> StoredModel:
    """Remove `keras`, or variants by their precision, from a stored version, files and all.

    Raises `UsageError` for what it has not, and if nothing would be left to serve.
    """
    card = stored.card
    there = [*(variant.precision for variant in card.variants), *(["keras"] if card.keras else [])]
    if unknown := [name for name in without if name not in there]:
        raise UsageError(f"{card.name}/{card.version} has no {', '.join(unknown)}; it has {', '.join(there)}")
    variants = [variant for variant in card.variants if variant.precision not in without]
    if not variants:
        raise UsageError(f"{card.name}/{card.version} would have nothing left to serve; delete it instead")
    keras = None if "keras" in without else card.keras
    nothing = repository.workspace()
    try:
        return repository.extend(card.model_copy(update={"variants": variants, "keras": keras}), nothing)
    finally:
        shutil.rmtree(nothing)

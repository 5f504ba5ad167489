"""Whether a version of the store is what its card says, and answers as it did when it was exported."""

from models import golden
from models.machine import usable_cpus
from models.repository import StoredModel
from models.runtime import OnnxModel


def check(stored: StoredModel) -> float:
    """Compare every file with its digest and answer the golden images with every variant.

    Returns the largest difference of a score. Raises `BrokenModel` or `GoldenMismatch`.
    """
    stored.verify()
    card = stored.card
    worst = 0.0
    for variant in card.variants:
        model = OnnxModel(stored.folder / variant.file, threads=usable_cpus())
        path = stored.folder / card.golden.file
        worst = max(worst, golden.check(path, card.input, variant.precision, model.run, model.provider))
    return worst

"""Versions that must not be served, each for a reason of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.repository import StoredModel
from tests.support.models import tiny_model
from tests.unit.service import stores
from tests.unit.service.stand_ins import failed, served
from tests.unit.service.stores import open_store

UNFIT: list[tuple[Callable[[StoredModel], None], str]] = [
    (stores.alter_file, "SHA-256 differs"),
    (stores.remove_file, "can't be read"),
    (stores.break_card, "can't be read"),
    (stores.remove_card, "has no model.json"),
    (stores.shift_scores, "golden scores differ"),
    (stores.shift_pixels, "other pixels"),
    (stores.forget_scores, "golden.npz can't be read"),
    (stores.nan_scores, "golden scores differ"),
    (stores.no_images, "golden"),
    (stores.undecodable_image, "golden"),
    (stores.pickled, "golden.npz can't be read"),
    (stores.no_archive, "golden.npz can't be read"),
    (stores.no_graph, "can't be loaded"),
    (stores.wrong_input, "golden"),
    (stores.wrong_labels, "2 scores for 3 labels"),
]


@pytest.mark.parametrize(("spoil", "reason"), UNFIT, ids=lambda value: getattr(value, "__name__", ""))
async def test_an_unfit_newest_version_is_reported_and_the_older_one_serves(
    tmp_path: Path, spoil: Callable[[StoredModel], None], reason: str
) -> None:
    tiny_model(tmp_path)
    spoil(tiny_model(tmp_path))
    tiny_model(tmp_path, "other")
    registry = await open_store(tmp_path)
    assert served(registry) == ["other/1", "tiny/1"]
    assert list(failed(registry)) == ["tiny/2"]
    assert reason in failed(registry)["tiny/2"]
    await registry.close()

"""The models that ship keep their own contract."""

import json
import re
from pathlib import Path

import pytest

from models import golden
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from models.workspace import CHECKOUT

STORE = Repository(CHECKOUT / "models" / "store")
SHIPPED = STORE.scan().models
MAX_STORE_BYTES = 40_000_000

each_model = pytest.mark.parametrize("stored", SHIPPED, ids=lambda stored: f"{stored.card.name}/{stored.card.version}")


def test_the_store_holds_what_was_promised_and_nothing_broken() -> None:
    assert {"automl", "cnn", "cnn_residual", "transfer"} <= {stored.card.name for stored in SHIPPED}
    assert STORE.scan().broken == []
    assert len({stored.card.name for stored in SHIPPED}) == len(SHIPPED), "one version each"


def test_the_store_stays_small() -> None:
    assert sum(path.stat().st_size for path in STORE.root.rglob("*") if path.is_file()) < MAX_STORE_BYTES


@each_model
def test_files_have_their_digests_and_reproduce_the_golden_vectors(stored: StoredModel) -> None:
    stored.verify()
    for variant in stored.card.variants:
        model = OnnxModel(stored.folder / variant.file, threads=1)
        golden.check(stored.folder / stored.card.golden.file, stored.card.input, variant.precision, model.run, model.provider)


@each_model
def test_the_card_says_from_what_how_and_how_well(stored: StoredModel) -> None:
    facts = stored.card.training
    assert facts is not None
    assert facts.data
    assert facts.minutes <= 100
    assert facts.counts.train > facts.counts.validation > 0
    assert len(stored.card.tests) == 1, "met one test set, once"
    assert all(variant.test_accuracy is not None for variant in stored.card.variants)
    assert (stored.folder / "CARD.md").read_text(encoding="utf-8").startswith(f"# {stored.card.name}\n")


@each_model
def test_every_look_at_the_test_set_stands_in_the_docs(stored: StoredModel) -> None:
    rows = [line for line in (CHECKOUT / "docs" / "models.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    where = f"`{stored.card.name}/{stored.card.version}`"
    (row,) = [row for row in rows if where in row]
    for result in stored.card.tests:
        for accuracy in result.accuracy.values():
            assert f"{accuracy.value:.1%}".replace("%", " %") in row


@each_model
def test_the_card_names_no_path_of_the_machine_that_trained(stored: StoredModel) -> None:
    text = json.dumps(stored.card.model_dump(mode="json"))
    assert not re.search(r"\"[^\"]*(?:\.\./|/home/|/tmp/|/root/)[^\"]*\"", text)
    assert all(Path(file.name).name == file.name for file in stored.card.training.data) if stored.card.training else True


@pytest.mark.parametrize(("name", "floor"), [("cnn", 0.83), ("cnn_residual", 0.86), ("transfer", 0.94), ("automl", 0.94)])
def test_accuracy_on_the_test_set_is_what_was_promised(name: str, floor: float) -> None:
    for accuracy in STORE.get(name).card.tests[0].accuracy.values():
        assert accuracy.value >= floor
        assert accuracy.images == 1502


def test_the_article_network_has_its_parameters() -> None:
    facts = STORE.get("cnn").card.training
    assert facts is not None
    assert facts.parameters == 400_102

"""`CARD.md` says what a person should know."""

import pytest

from models.metadata import Counts, DataFile, InputSpec, ModelCard, StoredFile, TrainingFacts, Variant
from tests.unit.training.small import small_facts
from training.card import card_text


def text(facts: TrainingFacts | None) -> str:
    card = ModelCard(
        name="small",
        version="1",
        labels=["dark", "bright"],
        input=InputSpec(height=40, width=32),
        variants=[Variant(file="model.onnx", sha256="0" * 64, precision="fp32")],
        golden=StoredFile(file="golden.npz", sha256="0" * 64),
        training=facts,
    )
    return " ".join(card_text(card).split())


def facts(name: str) -> TrainingFacts:
    counts = Counts(found=40, left_out=1, unreadable=2, in_excluded_set=3, conflicting_duplicates=4, train=25, validation=5)
    data = [DataFile(name=name, sha256="ab" * 32, images=40)]
    return small_facts().model_copy(update={"counts": counts, "data": data})


def test_it_says_from_what_how_and_how_well() -> None:
    said = text(facts("scenes.zip"))
    for part in (
        "one of 2 classes: dark, bright.",
        "resized to 32 x 40 (bilinear)",
        "seed 7: 3 epochs, the best of them 2",
        "25 images to learn from, 5 to choose by",
        "dropped: 1 by name, 2 unreadable, 3 that also stand in the test set, 4 duplicates under two labels",
        "scenes.zip (40 images, SHA-256 abababababab...)",
        "validation: 83.3% (95 % interval 40.0% to 97.0%)",
        "It knows its 2 classes and nothing else",
    ):
        assert part in said


@pytest.mark.parametrize(("name", "known"), [("intel-train-part1.zip", True), ("seg_train", True), ("scenes.zip", False)])
def test_the_terms_of_known_data_stand_in_it(name: str, known: bool) -> None:
    assert ("offered for research" in text(facts(name))) == known


def test_of_a_model_that_was_trained_elsewhere_there_is_nothing_to_say() -> None:
    with pytest.raises(ValueError, match="unknown training"):
        text(None)

"""A version meets a test set: every variant judged on its own file, once, and the result kept in the card."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from models import imaging
from models.errors import BrokenModel, DatasetError, ImageError, UsageError
from models.evaluation import BATCH, evaluate
from models.metadata import CARD_FILE, Accuracy, file_sha256
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from tests.support.images import encoded, labelled, plain, write_folder, write_zip
from tests.support.models import tiny_model, write_graph

THREE = ("dark", "grey", "bright")


class Judge:
    """A store with one model, and a way to let it meet sources."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = Repository(folder / "store")
        self.stored = tiny_model(folder / "store", labels=THREE, precisions=("fp32", "int8"))
        self.output = io.StringIO()

    def meet(self, *sources: Path | str, stored: StoredModel | None = None) -> dict[str, Accuracy]:
        console = Console(file=self.output, width=120)
        chosen = stored or self.repository.get("tiny", "1")
        result = evaluate(self.repository, chosen, [str(source) for source in sources], self.folder / "downloads", console)
        return {str(precision): accuracy for precision, accuracy in result.accuracy.items()}

    def card_text(self) -> str:
        return (self.stored.folder / CARD_FILE).read_text(encoding="utf-8")


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path)


def test_every_variant_is_judged_by_its_own_file(judge: Judge, tmp_path: Path) -> None:
    write_graph(judge.stored.folder / "model.int8.onnx", 3, sharpness=-20)  # names the class that is farthest
    variants = [
        variant.model_copy(update={"sha256": file_sha256(judge.stored.folder / variant.file)})
        for variant in judge.stored.card.variants
    ]
    judge.repository.update(judge.stored.card.model_copy(update={"variants": variants}))
    test = write_folder(tmp_path / "test", labelled(dict.fromkeys(THREE, 20)))
    accuracy = judge.meet(test)
    assert (accuracy["fp32"].correct, accuracy["fp32"].images) == (60, 60)
    assert accuracy["int8"].correct == 0
    card = judge.repository.get("tiny").card
    assert {variant.precision: variant.test_accuracy for variant in card.variants} == {"fp32": 1, "int8": 0}
    (record,) = card.tests
    assert (record.data.name, record.data.images) == ("test", 60)
    assert record.accuracy == accuracy
    assert record.evaluated.utcoffset() is not None
    judge.repository.get("tiny").verify()


def test_the_accuracy_is_that_of_scoring_the_images_one_by_one(judge: Judge, tmp_path: Path) -> None:
    greys = {f"{label}/{grey}.png": plain(grey) for label in THREE for grey in range(0, 256, 5)}  # most of them mislabelled
    assert len(greys) > 2 * BATCH
    model = OnnxModel(judge.stored.folder / "model.onnx", threads=1)
    right = sum(
        THREE[int(model.run(imaging.load(data, judge.stored.card.input)[np.newaxis]).argmax())] == path.partition("/")[0]
        for path, data in greys.items()
    )
    accuracy = judge.meet(write_zip(tmp_path / "test.zip", greys))
    assert 0 < right < len(greys)
    assert accuracy["fp32"].correct == right
    assert f"tiny/1 fp32 on test.zip: accuracy {right / len(greys):.1%}" in judge.output.getvalue()


def test_a_test_set_may_lack_classes_and_lie_in_several_sources(judge: Judge, tmp_path: Path) -> None:
    files = labelled({"dark": 3, "bright": 2})
    dark = write_folder(tmp_path / "a", {name: data for name, data in files.items() if name.startswith("dark")})
    bright = write_zip(tmp_path / "b.zip", {name: data for name, data in files.items() if name.startswith("bright")})
    assert judge.meet(dark, bright)["fp32"].correct == 5
    (record,) = judge.repository.get("tiny").card.tests
    assert (record.data.name, record.data.images) == ("a + b.zip", 5)
    with pytest.raises(UsageError, match="met these images"):
        judge.meet(bright, dark)


def test_a_second_look_at_the_same_images_is_refused_with_the_first_result(judge: Judge, tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", labelled(dict.fromkeys(THREE, 2)))
    judge.meet(test)
    before = judge.card_text()
    moved = test.rename(tmp_path / "renamed")
    with pytest.raises(
        UsageError, match=r"tiny/1 met these images on \d{4}-\d\d-\d\d: fp32 100\.0%, int8 100\.0%\. A test set is met once"
    ):
        judge.meet(moved)
    assert judge.card_text() == before


def test_a_variant_that_came_later_meets_them_once_too(judge: Judge, tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", labelled(dict.fromkeys(THREE, 2)))
    card = judge.stored.card
    judge.repository.update(card.model_copy(update={"variants": card.variants[:1]}))
    assert list(judge.meet(test)) == ["fp32"]
    (first,) = judge.repository.get("tiny").card.tests
    write_graph(judge.stored.folder / "model.int8.onnx", 3, sharpness=-20)  # names the class that is farthest
    late = card.variants[1].model_copy(update={"sha256": file_sha256(judge.stored.folder / "model.int8.onnx")})
    met = judge.repository.get("tiny").card
    judge.repository.update(met.model_copy(update={"variants": [*met.variants, late]}))
    judge.output.truncate(0)
    accuracy = judge.meet(test)
    assert "tiny/1 int8" in judge.output.getvalue()
    assert "tiny/1 fp32" not in judge.output.getvalue(), "it is not asked again"
    (record,) = judge.repository.get("tiny").card.tests
    assert record.accuracy == accuracy
    assert (record.accuracy["fp32"], record.accuracy["int8"].correct) == (first.accuracy["fp32"], 0)
    assert [variant.test_accuracy for variant in judge.repository.get("tiny").card.variants] == [1, 0]
    with pytest.raises(UsageError, match=r"fp32 100\.0%, int8 0\.0%\. A test set is met once"):
        judge.meet(test)


def test_a_second_test_set_adds_to_the_card_and_the_first_stays_the_figure(judge: Judge, tmp_path: Path) -> None:
    judge.meet(write_folder(tmp_path / "right", labelled(dict.fromkeys(THREE, 2))))
    judge.meet(write_folder(tmp_path / "wrong", labelled(dict.fromkeys(reversed(THREE), 2))))
    card = judge.repository.get("tiny").card
    assert [record.data.name for record in card.tests] == ["right", "wrong"]
    assert [variant.test_accuracy for variant in card.variants] == [1, 1]


def test_each_version_may_meet_the_set(judge: Judge, tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", labelled(dict.fromkeys(THREE, 2)))
    second = tiny_model(tmp_path / "store", labels=THREE)
    judge.meet(test)
    assert judge.meet(test, stored=second)["fp32"].correct == 6
    assert [len(stored.card.tests) for stored in judge.repository.scan().models] == [1, 1]


def test_labels_that_the_model_does_not_know_are_refused_by_name(judge: Judge, tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", labelled({"dark": 1, "purple": 1, "Bright": 1}))
    with pytest.raises(DatasetError, match="tiny does not know Bright, purple; it knows dark, grey, bright"):
        judge.meet(test)
    assert judge.repository.get("tiny").card.tests == []


def test_an_image_that_can_t_be_decoded_stops_it_and_leaves_no_result(judge: Judge, tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", {**labelled({"dark": 2}), "dark/9.jpg": encoded()[:300]})
    before = judge.card_text()
    with pytest.raises((ImageError, DatasetError)):
        judge.meet(test)
    assert judge.card_text() == before


def test_an_image_that_can_t_be_decoded_is_named(judge: Judge, tmp_path: Path) -> None:
    test = write_folder(tmp_path / "test", {**labelled({"dark": 2}), "dark/9.jpg": encoded()[:300]})
    with pytest.raises((ImageError, DatasetError), match=r"dark/9\.jpg"):
        judge.meet(test)


def test_a_model_that_was_tampered_with_is_not_judged(judge: Judge, tmp_path: Path) -> None:
    write_graph(judge.stored.folder / "model.onnx", 3, sharpness=21)
    with pytest.raises(BrokenModel, match=r"tiny/1/model\.onnx"):
        judge.meet(write_folder(tmp_path / "test", labelled({"dark": 1})))


def test_large_photographs_are_judged_though_the_service_would_refuse_them(judge: Judge, tmp_path: Path) -> None:
    large = plain(0, "BMP", 1600, 1600)
    assert len(large) > imaging.DEFAULT_LIMITS.max_bytes
    assert judge.meet(write_folder(tmp_path / "test", {"dark/1.bmp": large}))["fp32"].correct == 1

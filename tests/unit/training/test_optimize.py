"""A variant reaches a version if it classifies as well as fp32, and otherwise nothing does."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from models import golden
from models.errors import BrokenModel, DatasetError, UsageError
from models.metadata import CARD_FILE, InputSpec, ModelCard, Precision, Variant, stored_file
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from models.slim import slim
from tests.unit.training.hand_made import SIDE, dark_and_bright, layered
from training import optimize as module
from training.data import TrainingSet
from training.optimize import Verdict, optimize
from training.quantize import to_int8
from training.throughput import images_per_second

DATA = dark_and_bright()


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast these variants really are is nobody's concern here."""
    monkeypatch.setattr(module, "images_per_second", partial(images_per_second, rounds=1, seconds=0.0))


@pytest.fixture
def store(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "store")


def put(store: Repository, *ranges: float, gain: float = 1) -> StoredModel:
    """A version with these ranges in its layers. Its labels stand in another order than those of the data."""
    folder = store.workspace()
    path = layered(folder / "model.onnx", ranges or (1, 1, 1), gain=gain)
    spec = InputSpec(height=SIDE, width=SIDE)
    golden.write(folder / "golden.npz", spec, {"fp32": OnnxModel(path, threads=1).run})
    card = ModelCard(
        name="small",
        version="1",
        labels=["dark", "bright"],
        input=spec,
        variants=[Variant(precision="fp32", **stored_file(path).model_dump(), test_accuracy=0.9)],
        golden=stored_file(folder / "golden.npz"),
    )
    return store.add(card, folder)


def run(store: Repository, stored: StoredModel, *precisions: Precision, data: TrainingSet = DATA) -> list[Verdict]:
    return optimize(store, stored, data, precisions, calibration=20, seed=1)


def files(stored: StoredModel) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stored.folder.iterdir()}


def test_variants_that_hold_are_added_to_the_version_with_all_that_is_to_be_known(store: Repository) -> None:
    verdicts = run(store, put(store), "int8", "fp16")
    assert [(verdict.precision, verdict.accepted) for verdict in verdicts] == [("int8", True), ("fp16", True)]
    (stored,) = store.scan().models
    stored.verify()
    assert [variant.precision for variant in stored.card.variants] == ["fp32", "int8", "fp16"]
    for variant in stored.card.variants:
        path = stored.folder / variant.file
        model = OnnxModel(path, threads=1)
        assert (
            golden.check(stored.folder / stored.card.golden.file, stored.card.input, variant.precision, model.run, model.provider)
            == 0
        )
        assert variant.size_bytes == path.stat().st_size
        assert variant.speed
        assert variant.speed.images_per_second > 0
        assert variant.speed.provider == model.provider
        assert variant.validation
        assert (variant.validation.correct, variant.validation.images) == (30, 30)
        assert variant.change == (None if variant.precision == "fp32" else verdicts[0].change)
    assert [variant.test_accuracy for variant in stored.card.variants] == [0.9, None, None]
    assert sorted(files(stored)) == sorted([CARD_FILE, *(file.file for file in stored.card.files)])
    assert [path.name for path in store.root.iterdir()] == ["small"], "no workspace is left"


def test_precisions_may_come_one_by_one_and_none_comes_twice(store: Repository) -> None:
    run(store, put(store), "fp16")
    before = store.get("small")
    run(store, before, "int8")
    stored = store.get("small")
    stored.verify()
    assert [variant.precision for variant in stored.card.variants] == ["fp32", "fp16", "int8"]
    assert stored.card.variants[1].change == before.card.variants[1].change
    with pytest.raises(UsageError, match="small/1 has int8, or had it"):
        run(store, stored, "int8")
    with pytest.raises(UsageError, match="small/1 has int8, or had it"):
        run(store, slim(store, stored, ["int8"]), "int8")


def test_a_wide_range_in_the_first_layer_costs_int8_nothing(store: Repository) -> None:
    (verdict,) = run(store, put(store, 1e4, 1, 1), "int8")
    assert verdict.accepted
    assert verdict.how == "20 images to calibrate"
    assert [variant.precision for variant in store.get("small").card.variants] == ["fp32", "int8"]


def test_what_loses_too_much_is_refused_and_nothing_is_written(store: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    stored = put(store, 1e4, 1e4, 1e4, gain=1e6)  # which no half float holds
    before = files(stored)
    verdicts = run(store, stored, "int8", "fp16")
    assert [(verdict.precision, verdict.accepted) for verdict in verdicts] == [("int8", False), ("fp16", False)]
    assert files(stored) == before
    assert [path.name for path in store.root.iterdir()] == ["small"]
    said = " ".join(capsys.readouterr().err.split())
    assert "int8, 20 images to calibrate: -50.00 points against fp32 (95 % interval -66.85 to -29.69; of 30" in said
    assert "validation images 15 lost, 0 gained): refused (at most 0.5 points may be lost)" in said


def test_one_that_is_refused_does_not_keep_the_other_out(store: Repository) -> None:
    verdicts = run(store, put(store, 1, 1e4, 1e4), "int8", "fp16")
    assert [verdict.accepted for verdict in verdicts] == [False, True]
    stored = store.get("small")
    stored.verify()
    assert [variant.precision for variant in stored.card.variants] == ["fp32", "fp16"]
    assert not (stored.folder / "model.int8.onnx").exists()


@pytest.mark.parametrize(("lost", "accepted"), [(1, True), (2, False)])
def test_half_a_point_may_be_lost_and_no_more(
    store: Repository, monkeypatch: pytest.MonkeyPatch, lost: int, accepted: bool
) -> None:
    data = dark_and_bright(validation=200)
    right = module._Validation.right

    def some_lost(self: module._Validation, path: Path) -> npt.NDArray[np.bool_]:
        answers = right(self, path)
        if path.name != "model.onnx":
            answers[:lost] = False
        return answers

    monkeypatch.setattr(module._Validation, "right", some_lost)
    (verdict,) = run(store, put(store), "fp16", data=data)
    assert verdict.change.value == -lost / 200
    assert verdict.accepted is accepted


def test_int8_is_calibrated_on_images_that_the_model_learns_from_and_on_no_other(
    store: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[npt.NDArray[np.uint8]] = []

    def look(source: Path, target: Path, images: npt.NDArray[np.uint8]) -> None:
        seen.append(images)
        to_int8(source, target, images)

    monkeypatch.setattr(module, "to_int8", look)
    data = replace(DATA, train=DATA.validation, validation=DATA.train)
    for seed in (1, 1, 2):
        optimize(store, put(store), data, ["int8"], calibration=12, seed=seed)
    learnt = {image.tobytes() for image in data.pixels[data.train]}
    assert [len(images) for images in seen] == [12] * 3
    assert all(image.tobytes() in learnt for images in seen for image in images)
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def test_classes_that_the_model_does_not_know_are_refused_by_name(store: Repository) -> None:
    with pytest.raises(DatasetError, match="small does not know blurred; it knows dark, bright"):
        run(store, put(store), "int8", data=dark_and_bright(labels=("blurred", "bright")))


def test_a_version_that_is_not_sound_here_is_not_optimised(store: Repository) -> None:
    stored = put(store)
    layered(stored.folder / "model.onnx", (2, 2, 2))
    with pytest.raises(BrokenModel, match="its SHA-256 differs"):
        run(store, stored, "int8")


def test_a_version_without_fp32_has_nothing_to_start_from(store: Repository) -> None:
    stored = put(store)
    card = stored.card.model_copy(update={"variants": [stored.card.variants[0].model_copy(update={"precision": "fp16"})]})
    store.update(card)
    with pytest.raises(UsageError, match="small/1 has no fp32 variant to start from"):
        run(store, store.get("small"), "int8")


def test_a_card_that_was_changed_meanwhile_is_not_overwritten(store: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = put(store)
    changed = stored.card.model_copy(update={"training": None, "tests": []}).model_copy(update={"labels": ["dark", "light"]})

    def meanwhile(*args: object, **options: object) -> dict[Precision, float]:
        store.update(changed)
        return dict.fromkeys(("fp32", "fp16", "int8"), 1.0)

    monkeypatch.setattr(module, "images_per_second", meanwhile)
    with pytest.raises(UsageError, match="small/1 was changed meanwhile; nothing was written"):
        run(store, stored, "fp16")
    assert store.get("small").card == changed
    assert not (stored.folder / "model.fp16.onnx").exists()

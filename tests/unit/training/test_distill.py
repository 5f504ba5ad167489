"""A student learns from labels and from a teacher's answers, in the shares that its recipe states."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from models import imaging
from models.datasets import open_dataset
from models.errors import ParallaxError, UnknownModel, UsageError
from models.metadata import DataFile
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from tests.support.images import labelled, write_folder
from tests.support.models import tiny_model
from tests.unit.training.small import small_backbone, small_set
from training import backbones, distill, phases, transfer
from training.augment import Augmentation
from training.batches import CachedRows, Pixels
from training.data import TrainingSet, prepare
from training.distill import Lesson, lesson, soften
from training.recipe import DistillSettings, load_recipe
from training.runs import Run, RunRecord
from training.transfer_recipe import Overrides, TransferRecipe, load_transfer_recipe

SOFT = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
HEAD: dict[str, Any] = {"epochs": 4, "batch_size": 16, "optimizer": {"learning_rate": 0.05}}
TUNE: dict[str, Any] = {"epochs": 1, "batch_size": 16, "share": 0.33, "crops": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = labelled({"dark": 20, "bright": 20}, width=48, height=40)
    return write_folder(tmp_path_factory.mktemp("data") / "photos", files)


class Runs:
    """Makes runs with a teacher."""

    def __init__(self, folder: Path, photos: Path) -> None:
        self.folder, self.photos = folder, photos
        self.store = Repository(folder / "store")

    def new(self, fine_tune: dict[str, Any] | None = None, **distill: object) -> Run:
        values = {"backend": "tiny", "weights": "random", "height": 32, "width": 32, "head": HEAD, "fine_tune": fine_tune}
        recipe = TransferRecipe.model_validate(values | {"distill": {"teacher": "teacher"} | distill})
        sources = [str(self.photos)]
        record = RunRecord(name="tiny", recipe=recipe, sources=sources, excluded=[], seed=7, usd_per_hour=0.1)
        return Run.create(self.folder / "runs", record)

    def data(self, run: Run) -> TrainingSet:
        record = run.read()
        return prepare(record.sources, [], record.recipe.input_spec, run.pixels)

    def lesson(self, run: Run) -> Lesson:
        found = lesson(run, run.read(), self.data(run), self.store)
        assert found
        return found

    def train(self, run: Run) -> StoredModel:
        transfer.train(run, self.store)
        return self.store.get("tiny")


@pytest.fixture
def runs(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    monkeypatch.setattr(backbones, "build", lambda *_, **__: small_backbone())
    return Runs(tmp_path, photos)


def test_softening_divides_the_logits_by_the_temperature() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (5, 4))

    def softmax(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))

    scores = softmax(logits).astype(np.float32)
    np.testing.assert_allclose(soften(scores, 3), softmax(logits / 3), atol=1e-6)
    np.testing.assert_allclose(soften(scores, 1), scores, atol=1e-6)
    np.testing.assert_array_equal(soften(np.array([[1, 0]], np.float32), 2), [[1, 0]])


def test_a_target_is_the_label_and_the_teacher_in_their_shares() -> None:
    data = replace(small_set(), train=np.array([0, 3]))  # dark, bright
    targets = distill.blend(data, SOFT, 0.25, 1)
    np.testing.assert_allclose(targets, [[0.75 + 0.225, 0.025], [0.05, 0.75 + 0.2]], atol=1e-6)
    assert targets.dtype == np.float32


def test_the_teacher_sees_an_image_and_its_mirror_image() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (70, 4, 5, 3)).astype(np.uint8)
    rows = np.arange(69)[::-1]
    scores = distill._ask(lambda images: images[:, 0, 0, :2].astype(np.float32), pixels, rows)
    np.testing.assert_array_equal(scores, (pixels[rows, 0, 0, :2].astype(float) + pixels[rows, 0, -1, :2]) / 2)


def test_it_sees_the_source_images_at_its_own_size_and_its_labels_are_put_in_order(runs: Runs) -> None:
    teacher = tiny_model(runs.store.root, "teacher", ("dark", "bright"), height=24, width=40)
    model = OnnxModel(teacher.folder / "model.onnx", threads=1)
    run = runs.new(weight=1, temperature=1)
    taught = runs.lesson(run)
    assert taught.data.labels == ["bright", "dark"], "in the order of the alphabet"
    with open_dataset(str(runs.photos)) as dataset:
        images = np.stack([imaging.load(image.data, teacher.card.input) for image in dataset])
    expected = (model.run(images) + model.run(images[:, :, ::-1])) / 2
    assert taught.data.soft_targets is not None
    np.testing.assert_allclose(taught.data.soft_targets, expected[taught.data.train][:, ::-1], atol=1e-5)
    assert (taught.teacher.name, taught.teacher.version, taught.teacher.file) == ("teacher", "1", "model.onnx")
    assert taught.teacher.sha256 == teacher.card.variants[0].sha256
    assert not run.teacher_pixels.exists()


def test_what_the_teacher_said_is_kept_until_the_run_ends(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model(runs.store.root, "teacher")
    run = runs.new()
    first = runs.lesson(run)
    tiny_model(runs.store.root, "teacher", sharpness=-20)  # a newer one
    monkeypatch.setattr(distill, "_ask", lambda *_: pytest.fail("it was asked already"))
    again = runs.lesson(run)
    assert (again.teacher, again.seconds) == (first.teacher, first.seconds)
    np.testing.assert_array_equal(again.data.soft_targets, first.data.soft_targets)
    run.tidy()
    assert not run.teacher_scores.exists()


def test_a_teacher_must_be_there_and_know_these_labels(runs: Runs) -> None:
    with pytest.raises(UnknownModel, match="no sound version of 'teacher'"):
        runs.lesson(runs.new())
    tiny_model(runs.store.root, "teacher", ("night", "day"))
    with pytest.raises(UsageError, match="the teacher teacher knows night, day; this data has bright, dark"):
        runs.lesson(runs.new())


def test_another_teacher_than_the_run_began_with_is_refused(runs: Runs) -> None:
    tiny_model(runs.store.root, "teacher")
    run = runs.new()
    first = runs.lesson(run).teacher
    run.note(teacher=first.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(UsageError, match="teacher/1 is not the teacher any more"):
        runs.lesson(run)


def test_a_teacher_that_may_know_the_test_set_is_told(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model(runs.store.root, "teacher")
    run = runs.new()
    test = DataFile(name="test.zip", sha256="a" * 64, images=3)
    lesson(run, run.read(), replace(runs.data(run), excluded=[test]), runs.store)
    assert "trained without leaving out test.zip" in " ".join(capsys.readouterr().err.split())
    runs.lesson(runs.new())
    assert "leaving out" not in capsys.readouterr().err


def test_batches_show_soft_targets_and_mix_them_as_they_mix_labels() -> None:
    data = replace(small_set(train=2), soft_targets=SOFT)
    for batches in (
        Pixels(data, Augmentation(), 32, 32),
        CachedRows([np.zeros((2, 3), np.float16)], np.zeros((6, 3), np.float16), data.train_targets, np.zeros(6, int), 2),
    ):
        ((_, targets),) = list(batches.training(2, 1, range(2)))[:1]
        assert sorted(map(tuple, targets.numpy())) == sorted(map(tuple, SOFT))
    mixed = Pixels(data, Augmentation(mixup=0.5), 32, 32)
    ((_, targets),) = list(mixed.training(2, 1, range(2)))[:1]
    np.testing.assert_allclose(targets.numpy().sum(axis=1), 1, atol=1e-6)
    assert ((targets.numpy() > 0.1) & (targets.numpy() < 0.9)).all(), "between the two"


def test_a_student_believes_a_teacher_that_has_all_the_weight(runs: Runs) -> None:
    tiny_model(runs.store.root, "teacher", sharpness=-20)  # it calls the dark ones bright
    facts = runs.train(runs.new(weight=1)).card.training
    assert facts
    assert facts.validation.value <= 0.25


class Kill(Exception):
    """Ends a run as a kill would."""


def test_a_run_with_a_teacher_is_recorded_and_goes_on_after_a_kill(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = tiny_model(runs.store.root, "teacher")
    run = runs.new(fine_tune=TUNE, weight=0.3, temperature=3)
    real, seen = phases.fit_head, []

    def killed(*args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        seen.append(args[2].soft_targets)
        real(*args, **kwargs)
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(phases, "fit_head", killed)
        with pytest.raises(Kill):
            runs.train(run)
    tiny_model(runs.store.root, "teacher", sharpness=-20)
    tuned = phases.fine_tune

    def watched(*args: Any, **kwargs: Any) -> bool:  # noqa: ANN401
        seen.append(args[5].soft_targets)
        return tuned(*args, **kwargs)

    monkeypatch.setattr(phases, "fine_tune", watched)
    stored = runs.train(run)
    assert len(seen) == 2
    np.testing.assert_array_equal(*seen)
    facts = stored.card.training
    assert facts
    assert facts.teacher
    assert (facts.teacher.version, facts.teacher.sha256) == ("1", teacher.card.variants[0].sha256)
    assert (facts.settings["distill.weight"], facts.settings["distill.temperature"]) == (0.3, 3.0)
    text = (stored.folder / "CARD.md").read_text(encoding="utf-8")
    assert f"- distilled from teacher/1 (model.onnx, SHA-256 {facts.teacher.sha256[:12]}...), weight 0.3, temperature 3" in text
    assert facts.validation.value >= 0.75


def test_a_recipe_and_the_line_name_the_teacher() -> None:
    recipe = load_recipe("cnn", teacher="best/3", distill_weight=0.7)
    assert recipe.distill == DistillSettings(teacher="best", version="3", weight=0.7)
    assert load_recipe("cnn").distill is None
    tuned = load_transfer_recipe(None, fine_tune=True, overrides=Overrides(teacher="best"))
    assert tuned.distill == DistillSettings(teacher="best")
    with pytest.raises(UsageError, match="name one with --teacher"):
        load_recipe("cnn", distill_weight=0.7)


@pytest.mark.parametrize("wrong", [{"teacher": "../x"}, {"teacher": "a/b"}, {"weight": 0}, {"weight": 1.5}, {"temperature": 0.5}])
def test_a_teacher_that_can_t_be_one_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ParallaxError, ValidationError)):
        DistillSettings.model_validate({"teacher": "best"} | wrong)

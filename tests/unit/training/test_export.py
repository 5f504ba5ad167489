"""Keras to ONNX: the two agree, or nothing reaches the store."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from models import golden
from models.errors import GoldenMismatch, UsageError
from models.repository import Repository
from models.runtime import OnnxModel
from tests.support.images import picture
from tests.unit.training.small import SIDE, small_facts, small_network, small_run
from training import export as exporting
from training.fit import predict
from training.runs import Run

IMAGES = np.stack([np.asarray(picture(SIDE, SIDE, seed=seed)) for seed in range(70)])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    made = small_network(SIDE, SIDE, 3, 0.5)
    # As if it were trained: statistics that matter, scores that spread.
    made.set_weights([array + np.random.default_rng(2).normal(0.5, 0.2, array.shape) for array in made.get_weights()])
    return made


@pytest.fixture(scope="module")
def exported(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    exporting.convert(model, SIDE, SIDE, path)
    return path


def test_the_exported_model_keeps_the_contract_and_agrees_with_keras(model: keras.Model, exported: Path) -> None:
    onnx_model = OnnxModel(exported, threads=1)  # which checks names and types
    assert onnx_model.classes == 3
    scores = onnx_model.run(IMAGES)
    np.testing.assert_allclose(scores, predict(model, IMAGES), atol=1e-5)
    assert np.ptp(scores, axis=0).max() > 1e-3, "it says the same of every image"
    assert exporting.check_parity(model, onnx_model, IMAGES) == pytest.approx(
        float(np.abs(scores - predict(model, IMAGES)).max())
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_the_exported_model_takes_batches_of_any_size(model: keras.Model, exported: Path, batch: int) -> None:
    np.testing.assert_allclose(OnnxModel(exported, threads=1).run(IMAGES[:batch]), predict(model, IMAGES[:batch]), atol=1e-5)


def test_other_weights_are_refused(model: keras.Model, exported: Path) -> None:
    other = keras.models.clone_model(model)
    other.set_weights([array + 0.01 for array in model.get_weights()])
    with pytest.raises(GoldenMismatch, match=r"differs from Keras by 0\.\d+; 0\.0001 is allowed"):
        exporting.check_parity(other, OnnxModel(exported, threads=1), IMAGES)


class Answers:
    """Stands in for an exported model that answers so and not otherwise."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = list(scores)

    def run(self, images: np.ndarray) -> np.ndarray:
        return np.stack([self.scores.pop(0) for _ in images])


def parity(model: keras.Model, scores: np.ndarray) -> float:
    answers: OnnxModel = Answers(scores)  # type: ignore[assignment]  # it has what is used
    return exporting.check_parity(model, answers, IMAGES)


def test_parity_wants_every_image_to_agree(model: keras.Model) -> None:
    scores = predict(model, IMAGES)
    assert parity(model, scores) == 0
    for bad in (1e-3, np.nan):
        changed = scores.copy()
        changed[-1, 0] += bad  # the seventieth: behind the first batch
        with pytest.raises(GoldenMismatch, match="differs from Keras"):
            parity(model, changed)


def test_parity_wants_the_same_class_even_of_scores_next_to_each_other(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = np.tile(np.array([0.33334, 0.33333, 0.33333], np.float32), (len(IMAGES), 1))
    monkeypatch.setattr(exporting, "predict", lambda *_: near)
    assert parity(model, near) == 0
    with pytest.raises(GoldenMismatch, match="names another class than Keras"):
        parity(model, near[:, ::-1])


@pytest.fixture
def run(tmp_path: Path, model: keras.Model) -> Run:
    """A run that has ended."""
    run = small_run(tmp_path / "runs")
    run.write(run.read().model_copy(update={"labels": ["a", "b", "c"], "facts": small_facts()}))
    model.save(run.best)
    np.savez(run.parity, images=IMAGES[:8])
    return run


@pytest.fixture
def _converted_already(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion takes seconds and was tried above."""
    monkeypatch.setattr(exporting, "convert", lambda _model, _height, _width, path: shutil.copy(exported, path))


@pytest.mark.usefixtures("_converted_already")
def test_a_finished_run_becomes_a_sound_version_of_the_store(run: Run, model: keras.Model, tmp_path: Path) -> None:
    store = Repository(tmp_path / "store")
    folder = exporting.export(run, store)
    stored = store.get("small")
    assert stored.folder == folder == tmp_path / "store" / "small" / "1"
    stored.verify()
    assert (stored.card.labels, stored.card.training) == (["a", "b", "c"], small_facts())
    assert stored.card.input == run.read().recipe.input_spec
    onnx_model = OnnxModel(folder / "model.onnx", threads=1)
    assert golden.check(folder / "golden.npz", stored.card.input, "fp32", onnx_model.run, onnx_model.provider) == 0
    again = keras.models.load_model(folder / "model.keras", compile=False)
    np.testing.assert_array_equal(predict(again, IMAGES), predict(model, IMAGES))
    assert (folder / "CARD.md").read_text(encoding="utf-8").startswith("# small\n")
    assert exporting.export(run, store).name == "2"
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["small"]


@pytest.mark.usefixtures("_converted_already")
def test_an_export_that_disagrees_leaves_the_store_as_it_was(run: Run, model: keras.Model, tmp_path: Path) -> None:
    other = keras.models.clone_model(model)
    other.set_weights([array + 0.01 for array in model.get_weights()])
    other.save(run.best)
    with pytest.raises(GoldenMismatch):
        exporting.export(run, Repository(tmp_path / "store"))
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("missing", ["facts", "weights"])
def test_a_run_that_has_not_ended_is_not_exported(run: Run, tmp_path: Path, missing: str) -> None:
    if missing == "facts":
        run.write(run.read().model_copy(update={"facts": None}))
    else:
        run.best.unlink()
    with pytest.raises(UsageError, match=r"has not ended; go on with it: parallax train cnn --resume"):
        exporting.export(run, Repository(tmp_path / "store"))
    assert not (tmp_path / "store").exists()

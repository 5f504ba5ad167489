"""`parallax train transfer` from class folders to a version in the store, on a network of random weights."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models import golden
from models.errors import UsageError
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from tests.support.images import labelled, write_folder
from tests.unit.training.small import small_backbone
from training import backbones, phases, transfer
from training.callbacks import EpochProgress
from training.features import _compile
from training.fit import predict
from training.runs import Run, RunRecord, Stage
from training.transfer_recipe import TransferRecipe

RECIPE: dict[str, Any] = {
    "backend": "tiny",
    "weights": "random",
    "height": 32,
    "width": 32,
    "augmentation": {"flip": True, "min_area": 0.5},
    "head": {"epochs": 3, "batch_size": 16, "crops": 1},
}
TUNE: dict[str, Any] = {"epochs": 2, "batch_size": 16, "share": 0.33, "crops": 1, "optimizer": {"warmup_epochs": 0}}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "photos", labelled({"dark": 20, "bright": 20}))


class Runs:
    """Makes runs on the same photographs, and takes them to their end."""

    def __init__(self, folder: Path, photos: Path) -> None:
        self.folder, self.photos = folder, photos
        self.store = Repository(folder / "store")

    def new(self, **changes: object) -> Run:
        recipe = TransferRecipe.model_validate(RECIPE | changes)
        sources = [str(self.photos)]
        record = RunRecord(name=recipe.backend, recipe=recipe, sources=sources, excluded=[], seed=7, usd_per_hour=0.1)
        return Run.create(self.folder / "runs", record)

    def train(self, run: Run, max_cache_gb: float = 1.0) -> StoredModel:
        transfer.train(run, self.store, max_cache_gb=max_cache_gb)
        return self.store.get(run.read().name)


@pytest.fixture(autouse=True)
def _small_backbone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_CPUS", "2")
    if "real_backbone" not in request.fixturenames:
        monkeypatch.setattr(backbones, "build", lambda *_, **__: small_backbone())


@pytest.fixture
def real_backbone() -> None:
    """The test takes the network that its recipe names."""


@pytest.fixture
def runs(tmp_path: Path, photos: Path) -> Runs:
    return Runs(tmp_path, photos)


IMAGES = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


@pytest.mark.usefixtures("real_backbone")
def test_a_frozen_network_of_keras_becomes_a_sound_version(runs: Runs) -> None:
    run = runs.new(mirrored=True, backbone="MobileNetV2", backbone_options={"alpha": 0.35})
    stored = runs.train(run)
    stored.verify()
    facts = stored.card.training
    assert facts
    assert (facts.recipe, facts.phase, facts.epochs) == ("transfer", "frozen", 3)
    assert [(backbone.name, backbone.weights) for backbone in facts.backbones] == [("MobileNetV2", "random")]
    assert facts.settings["head.layers"] == "dropout"
    assert facts.settings["mirrored"] is True
    assert 0 < facts.minutes < 5
    onnx_model = OnnxModel(stored.folder / "model.onnx", threads=1)
    assert golden.check(stored.folder / "golden.npz", stored.card.input, "fp32", onnx_model.run, onnx_model.provider) == 0
    scores = onnx_model.run(IMAGES)
    np.testing.assert_allclose(onnx_model.run(IMAGES[:, :, ::-1]), scores, atol=1e-5)
    model = keras.models.load_model(stored.folder / "model.keras", compile=False)
    np.testing.assert_allclose(predict(model, IMAGES), scores, atol=1e-4)
    assert "on MobileNetV2 (weights random" in (stored.folder / "CARD.md").read_text(encoding="utf-8")
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "parity.npz", "best.keras", "head"}


def tuned_weights(run: Run, *path: str) -> dict[str, np.ndarray]:
    """Of a run's best network: the backbone's arrays, by layer and place."""
    backbone = keras.models.load_model(run.best, compile=False)
    for name in path or ("small",):
        backbone = backbone.get_layer(name)
    return {f"{layer.name}/{i}": array for layer in backbone.layers for i, array in enumerate(layer.get_weights())}


@pytest.fixture
def _tuning_always_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights and ten validation images: whether it truly does is chance."""
    monkeypatch.setattr("training.runs.Epoch.merit", property(lambda epoch: (epoch.epoch / 100, epoch.val_accuracy)))


@pytest.mark.usefixtures("_tuning_always_helps")
@pytest.mark.parametrize("from_pixels", [False, True])
def test_fine_tuning_changes_what_lies_above_the_cut_and_nothing_below(runs: Runs, from_pixels: bool) -> None:
    frozen = runs.new(backend="frozen", head=RECIPE["head"] | {"epochs": 1})
    runs.train(frozen)
    run = runs.new(head=RECIPE["head"] | {"epochs": 1}, fine_tune=TUNE | {"from_pixels": from_pixels})
    facts = runs.train(run).card.training
    assert facts
    assert (facts.phase, facts.epochs, facts.best_epoch) == ("fine_tuned", 2, 2)
    before, after = tuned_weights(frozen), tuned_weights(run)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == CHANGED, "and batch norm keeps its statistics, 2 and 3"


def joined() -> backbones.Backbone:
    keras.utils.set_random_seed(3)
    return backbones.join([small_backbone(), small_backbone("other")])


CHANGED = {"block2_conv/0", "block2_bn/0", "block2_bn/1"}


@pytest.mark.usefixtures("_tuning_always_helps")
def test_joined_backbones_are_fine_tuned_branch_by_branch(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "build", lambda *_, **__: joined())
    before = [
        {f"{layer.name}/{i}": x for layer in one.model.layers for i, x in enumerate(layer.get_weights())}
        for one in joined().branches
    ]
    run = runs.new(head=RECIPE["head"] | {"epochs": 1}, fine_tune=TUNE)
    # The head on both counts as better if it has learnt for longer.
    monkeypatch.setattr(transfer, "_better", lambda tuned, _: bool(tuned.history()))
    stored = runs.train(run)
    facts = stored.card.training
    assert facts
    assert (facts.phase, [backbone.name for backbone in facts.backbones]) == ("fine_tuned", ["small", "other"])
    for name, untouched, fact in zip(("small", "other"), before, facts.backbones, strict=True):
        after = tuned_weights(run, "joined", name)
        assert {key for key in untouched if not np.array_equal(untouched[key], after[key])} == CHANGED
        assert [len(run.stage(f"{name}/{phase}").history()) for phase in ("head", "fine_tune")] == [1, 2]
        assert fact.sha256 == backbones.arrays_digest(next(one.model for one in joined().branches if one.model.name == name)), (
            "as it came"
        )
    model = keras.models.load_model(run.best, compile=False)
    np.testing.assert_allclose(OnnxModel(stored.folder / "model.onnx", threads=1).run(IMAGES), predict(model, IMAGES), atol=1e-4)


def test_a_branch_that_gains_nothing_stays_as_it_was_and_ctrl_c_ends_with_what_there_is(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "build", lambda *_, **__: joined())
    real, tuned = phases.fine_tune, []

    def stopped_in_the_second(stage: Stage, backbone: backbones.Backbone, *rest: Any, **more: Any) -> bool:  # noqa: ANN401
        tuned.append(backbone.model.name)
        return real(stage, backbone, *rest, **more) and len(tuned) < 2

    monkeypatch.setattr(phases, "fine_tune", stopped_in_the_second)
    monkeypatch.setattr(transfer, "_better", lambda tuned, _: tuned.folder.name == "tuned_head")
    run = runs.new(head=RECIPE["head"] | {"epochs": 1}, fine_tune=TUNE)
    runs.train(run)
    assert tuned == ["small", "other"]
    assert run.stage("tuned_head").history()
    for name, one in zip(("small", "other"), joined().branches, strict=True):
        for key, array in tuned_weights(run, "joined", name).items():
            layer, place = key.split("/")
            np.testing.assert_array_equal(array, one.model.get_layer(layer).get_weights()[int(place)])


def test_fine_tuning_that_does_not_help_is_not_kept(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.runs.Epoch.merit", property(lambda epoch: (1 / epoch.epoch, 0)))
    frozen, run = runs.new(backend="frozen"), runs.new(fine_tune=TUNE)
    runs.train(frozen)
    facts = runs.train(run).card.training
    assert facts
    assert facts.phase == "frozen"
    for name, array in tuned_weights(frozen).items():
        np.testing.assert_array_equal(tuned_weights(run)[name], array)


def test_ctrl_c_in_the_first_epoch_of_fine_tuning_keeps_the_frozen_backbone(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def on_train_batch_end(self: EpochProgress, number: int, logs: object = None) -> None:
        begun.append(number)
        if len(begun) == 8:  # six batches of the head, and two of the four of an epoch
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochProgress, "on_train_batch_end", on_train_batch_end)
    run = runs.new(head=RECIPE["head"] | {"batch_size": 18}, fine_tune=TUNE | {"batch_size": 9})
    facts = runs.train(run).card.training
    assert facts
    assert (facts.phase, facts.epochs) == ("frozen", 3)
    assert run.stage("fine_tune").history() == []


class Kill(Exception):
    """Ends a run as a kill would: nothing is tidied up."""


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Run:
    """A run that nobody stopped."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(backbones, "build", lambda *_, **__: small_backbone())
        runs = Runs(tmp_path_factory.mktemp("straight"), photos)
        run = runs.new(fine_tune=TUNE)
        runs.train(run)
        return run


@pytest.mark.parametrize("where", ["frozen_features", "fit_head", "activations", "fine_tune"])
def test_a_run_that_was_killed_goes_on_with_what_it_has(
    runs: Runs, straight: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    run = runs.new(fine_tune=TUNE)
    real = getattr(phases, where)
    with monkeypatch.context() as patch:

        def killed(*args: object, **kwargs: object) -> None:
            real(*args, **kwargs)
            raise Kill

        patch.setattr(phases, where, killed)
        with pytest.raises(Kill):
            runs.train(run)
    compiled: list[str] = []

    def compile_network(network: keras.Model, path: Path) -> Any:  # noqa: ANN401
        compiled.append(path.parent.name)
        return _compile(network, path)

    monkeypatch.setattr("training.features._compile", compile_network)
    runs.train(run)
    assert compiled == (["activations"] if where in {"frozen_features", "fit_head"} else []), "computed again"
    for stage in ("head", "fine_tune"):
        for found, expected in zip(run.stage(stage).history(), straight.stage(stage).history(), strict=True):
            assert (found.loss, found.val_loss) == pytest.approx((expected.loss, expected.val_loss), rel=1e-3)


def test_what_can_t_be_done_is_said_before_anything_is_computed(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "frozen_features", lambda *_: pytest.fail("too late"))
    with pytest.raises(UsageError, match="--max-cache-gb"):
        runs.train(runs.new(fine_tune=TUNE), max_cache_gb=1e-6)
    with pytest.raises(UsageError, match="can't be frozen up to 'block9_add'"):
        runs.train(runs.new(fine_tune=TUNE | {"freeze_at": "block9_add"}))
    assert list((runs.folder / "runs").iterdir()) == []


def test_a_run_that_fails_late_keeps_what_it_has(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise UsageError("stopped before the first epoch ended")

    run = runs.new()
    monkeypatch.setattr(phases, "fit_head", fail)
    with pytest.raises(UsageError):
        runs.train(run)
    assert json.loads((run.features / "cache.json").read_bytes())["rows"]


@pytest.mark.usefixtures("real_backbone")
def test_the_article_s_network_builds_trains_exports_and_serves(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """InceptionResNetV2 at the smallest size that it takes, with random weights. They take a minute to convert: once."""
    monkeypatch.setattr("training.features._compile", lambda network, _: lambda pixels: network(pixels, training=False).numpy())
    run = runs.new(
        backend="article",
        backbone="InceptionResNetV2",
        height=75,
        width=75,
        augmentation={},
        head={"layers": [512, 128, "dropout", 64], "dropout": 0.5, "epochs": 1},
    )
    stored = runs.train(run)
    assert stored.card.training
    assert stored.card.training.parameters > 54_000_000
    assert OnnxModel(stored.folder / "model.onnx", threads=1).classes == 2

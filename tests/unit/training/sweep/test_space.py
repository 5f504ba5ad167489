"""What a sweep's file may say, and what a trial makes of it."""

from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from models.errors import UsageError
from training.backbone_names import LITE
from training.recipe import AugmentationSettings
from training.sweep.candidate import draw, strengthened
from training.sweep.space import SPACES, Choice, Range, Space, load_space
from training.transfer_recipe import FineTuneSettings


def space(tmp_path: Path, text: str) -> Space:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    return load_space(str(file))


def test_the_space_that_ships_needs_no_weights_from_elsewhere() -> None:
    shipped = load_space(None)
    parts = {part for model in shipped.parameters.models for part in model.split("+")}
    assert parts == set(LITE)
    assert {shipped.parameters.sizes(model) for model in shipped.parameters.models} == {224}
    assert shipped.early_termination.type == "bandit"


@pytest.mark.parametrize("name", sorted(file.stem for file in SPACES.glob("*.toml")))
def test_a_space_that_ships_comes_back_from_text_as_it_was_without_a_warning(name: str) -> None:
    shipped = load_space(name)
    assert Space.model_validate_json(shipped.model_dump_json(exclude_unset=True)) == shipped, "as workers are told of it"
    assert shipped.model_dump(mode="json")["parameters"]["model_name"]["choice"], "as a study keeps it"


def test_a_space_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"no space nowhere; there are: automl"):
        load_space("nowhere")
    assert load_space("automl") == load_space(None)


def test_values_choices_and_ranges(tmp_path: Path) -> None:
    parameters = space(
        tmp_path,
        """
        [parameters]
        model_name = { choice = ["EfficientNetLite0", "resnet50+mobilenetv2"] }
        image_size = { "ResNet50+MobileNetV2" = { choice = [160, 192] } }
        learning_rate = { min = 0.001, max = 0.1, log = true }
        epochs = { min = 5, max = 9 }
        dropout = 0.5
        head_layers = { choice = [[], ["dropout", 64]] }
        """,
    ).parameters
    assert parameters.models == ("efficientnet_lite0", "ResNet50+MobileNetV2")
    assert parameters.sizes("efficientnet_lite0") == 224
    assert parameters.sizes("ResNet50+MobileNetV2") == Choice[int](choice=(160, 192))
    assert parameters.learning_rate == Range[float](min=0.001, max=0.1, log=True)
    assert parameters.dropout == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[parameters]\nlearning_rate = { min = 0.1, max = 0.01 }", "parameters.learning_rate: .*less than max"),
        ("[parameters]\nweight_decay = { min = 0.0, max = 1.0, log = true }", "parameters.weight_decay: .*above 0"),
        ("[parameters]\nlearning_rate = { min = -1.0, max = 1.0 }", "parameters.learning_rate.min: .*greater than 0"),
        ("[parameters]\nlearning_rate = 'fast'", "parameters.learning_rate: Input should be a valid number"),
        ("[parameters]\noptimizer = { choice = ['adagrad'] }", "parameters.optimizer.choice.0: .*'adamw'"),
        ("[parameters]\nmixup = { choice = [] }", "parameters.mixup: .*choice of nothing"),
        ("[parameters]\ndropout = { choice = [0.1, 1.5] }\nepochs = 0", r"(?s)dropout.choice.1: .*parameters.epochs: "),
        ("[parameters]\nimage_size = { efficientnet_lite0 = 8 }", "parameters.image_size.efficientnet_lite0: .*32"),
        ("[parameters]\nimage_size = { efficientnet_lite2 = 260 }", "image_size names efficientnet_lite2"),
        ("[parameters]\nmodel_name = 'keras_hub:vit_x'", "at which size keras_hub:vit_x"),
        ("[parameters]\nmodel_name = 'resnet5'", "mine.toml: there is no backbone 'resnet5'"),
        ("[parameters]\nbackbone = 'resnet50'", "parameters.backbone: Extra inputs"),
        ("[early_termination]\ntype = 'bandit'", "early_termination: .*slack_factor"),
        ("[early_termination]\ntype = 'median'\nslack_factor = 0.1", "early_termination: .*belongs to bandit"),
        ("[fine_tune]\nshare = 0.5", "fine_tune: .*fine_tune_share"),
        ("sampling = 'grid'", "sampling: Input should be 'random' or 'tpe'"),
    ],
)
def test_a_fault_is_told_with_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        space(tmp_path, text)
    assert "mine.toml" in str(caught.value)


def test_what_is_fixed_is_not_asked_of_a_trial(tmp_path: Path) -> None:
    fixed = draw(space(tmp_path, "[parameters]\nepochs = 7"), FixedTrial({}))
    assert (fixed.model_name, fixed.image_size, fixed.epochs, fixed.head.epochs) == ("efficientnet_lite0", 224, 7, 7)


def test_a_candidate_is_what_was_drawn(tmp_path: Path) -> None:
    open_space = space(
        tmp_path,
        """
        [parameters]
        model_name = { choice = ["efficientnet_lite0", "efficientnet_lite0+efficientnet_lite2"] }
        image_size = { efficientnet_lite0 = { choice = [192, 224] } }
        learning_rate = { min = 0.001, max = 0.1, log = true }
        optimizer = { choice = ["sgd", "adam"] }
        head_layers = { choice = [["dropout"], [256, "dropout"]] }
        epochs = { min = 5, max = 9 }
        fine_tune_share = 0.2
        """,
    )
    drawn = {"learning_rate": 0.01, "optimizer": "adam", "head_layers": "256 dropout", "epochs": 6}
    one = draw(open_space, FixedTrial({**drawn, "model_name": "efficientnet_lite0", "image_size of efficientnet_lite0": 192}))
    assert (one.image_size, one.head.layers, one.head.optimizer.name) == (192, (256, "dropout"), "adam")
    assert (one.head.optimizer.learning_rate, one.head.epochs) == (0.01, 6)
    assert one.fine_tune(FineTuneSettings()).share == 0.2
    both = draw(open_space, FixedTrial({**drawn, "model_name": "efficientnet_lite0+efficientnet_lite2"}))
    assert (both.parts, both.image_size) == (["efficientnet_lite0", "efficientnet_lite2"], 260)
    assert both.fine_tune(FineTuneSettings()).share == 0.2


def test_strength_scales_how_far_a_crop_strays() -> None:
    full = AugmentationSettings(min_area=0.5, aspect=0.4, flip=True, brightness=0.2, contrast=0.2, saturation=0.2)
    assert strengthened(full, 1) == full
    assert strengthened(full, 0) == AugmentationSettings(flip=True)
    assert strengthened(full, 0.5).min_area == 0.75

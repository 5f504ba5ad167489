"""Recipes of transfer learning: the shipped ones, what the command line changes, what is refused."""

from pathlib import Path

import pytest

from models.errors import UsageError
from training.recipe import CONFIGS
from training.transfer_recipe import FineTuneSettings, Overrides, TransferRecipe, load_transfer_recipe

NETWORKS = {"cnn", "residual"}
RECIPES = sorted({path.stem for path in CONFIGS.glob("*.toml")} - NETWORKS)


def load(config: str | Path | None = None, *, fine_tune: bool = False, **said: object) -> TransferRecipe:
    return load_transfer_recipe(config, fine_tune=fine_tune, overrides=Overrides.model_validate(said))


def own(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("fine_tune", [False, True])
def test_a_shipped_recipe_is_sound(name: str, fine_tune: bool) -> None:
    recipe = load(name, fine_tune=fine_tune)
    assert (recipe.kind, recipe.command) == ("transfer", "transfer")
    assert (recipe.fine_tune is not None) == fine_tune


def test_the_default_is_lite0_frozen_at_its_size() -> None:
    recipe = load()
    assert (recipe.backend, recipe.backbone, recipe.weights) == ("transfer", "efficientnet_lite0", "imagenet")
    assert (recipe.height, recipe.width, recipe.fine_tune, recipe.mirrored) == (224, 224, None, False)


def test_the_article_s_recipe_has_the_article_s_head() -> None:
    recipe = load("inception_resnet_v2")
    assert (recipe.backbone, recipe.height, recipe.width) == ("InceptionResNetV2", 150, 150)
    assert (recipe.head.layers, recipe.head.dropout) == ((512, 128, "dropout", 64), 0.5)


def test_another_backbone_brings_its_own_size_unless_one_is_stated() -> None:
    assert load(backbone="efficientnet_lite2").height == 260
    assert load(backbone="xception", image_size=128).width == 128
    assert load(backbone="efficientnet-lite0", image_size=160).height == 160
    assert load(backbone="resnet50").backbone == "ResNet50"


def test_another_backbone_does_not_take_the_options_of_the_recipe_s(tmp_path: Path) -> None:
    path = own(tmp_path, 'backend = "x"\nbackbone = "mobilenetv2"\nheight = 96\nwidth = 64\n[backbone_options]\nalpha = 0.5\n')
    recipe = load(path)
    assert (recipe.backbone, recipe.height, recipe.width, recipe.backbone_options) == ("MobileNetV2", 96, 64, {"alpha": 0.5})
    other = load(path, backbone="efficientnet_lite0")
    assert (other.height, other.width, other.backbone_options) == (224, 224, {})
    assert load(path, backbone="MobileNetV2") == recipe


def test_a_recipe_s_fine_tuning_counts_only_if_it_is_asked_for(tmp_path: Path) -> None:
    path = own(tmp_path, 'backend = "x"\n[fine_tune]\nepochs = 5\nfreeze_at = "block7_add"\n')
    assert load(path).fine_tune is None
    assert load(path, fine_tune_epochs=3, share=0.5).fine_tune is None
    asked = load(path, fine_tune=True).fine_tune
    assert asked
    assert (asked.epochs, asked.freeze_at) == (5, "block7_add")
    said = load(path, fine_tune=True, fine_tune_epochs=3, share=0.5).fine_tune
    assert said
    assert (said.epochs, said.share, said.freeze_at) == (3, 0.5, None)
    assert load(own(tmp_path, 'backend = "x"\n'), fine_tune=True).fine_tune == FineTuneSettings()


def test_the_line_goes_before_the_file() -> None:
    recipe = load(head_epochs=3, mirrored=True, weights="some.npz", weights_sha256="a" * 64)
    assert (recipe.head.epochs, recipe.mirrored, recipe.weights, recipe.weights_sha256) == (3, True, "some.npz", "a" * 64)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('backend = "x"\nbackbon = "efficientnet_lite0"\n', "backbon"),
        ('backend = "x"\n[head]\nlayers = ["flatten"]\n', "head.layers"),
        ('backend = "x"\n[head]\nlayers = [0]\n', "head.layers"),
        ('backend = "x"\n[head]\ndropout = 1\n', "head.dropout"),
        ('backend = "x"\n[fine_tune]\nshare = 0\n', "fine_tune.share"),
        ('backend = "x"\n[fine_tune]\naverage = 1\n', "fine_tune.average"),
        ('backend = "x"\nweights_sha256 = "abc"\n', "weights_sha256"),
        ('backend = "x"\nweights_sha256 = "' + "a" * 64 + '"\n', "weights_sha256 belongs to a file"),
        ('backbone = "efficientnet_lite0"\n', "backend"),
        (
            'backend = "x"\nbackbone = "efficientnet_lite0+efficientnet_lite2"\nweights = "a.npz"\n',
            "joined backbones take weights",
        ),
        ('backend = "x"\nbackbone = "efficientnet_lite0+efficientnet_lite2"\n[fine_tune]\nfreeze_at = "a"\n', "say with share"),
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(UsageError) as raised:
        load(own(tmp_path, text), fine_tune=True)
    assert "own.toml" in str(raised.value)
    assert field in str(raised.value)


def test_a_recipe_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"no recipe nowhere; there are: .*inception_resnet_v2.*transfer"):
        load("nowhere")


def test_a_recipe_for_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match=r"cnn\.toml"):
        load("cnn")

"""Recipes: the shipped ones are sound, and a wrong one is refused with the field at fault."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UsageError
from models.metadata import InputSpec
from training.augment import Augmentation
from training.recipe import Recipe, load_recipe

RECIPES = sorted(Recipe.model_fields["network"].annotation.__args__)  # type: ignore[union-attr]  # of a Literal


@pytest.mark.parametrize("network", RECIPES)
def test_a_shipped_recipe_is_sound(network: str) -> None:
    recipe = load_recipe(network)
    assert recipe.network == network
    assert recipe.input_spec == InputSpec(height=recipe.height, width=recipe.width)
    Augmentation(**recipe.augmentation.model_dump())


def test_the_articles_network_is_served_at_its_size_and_by_its_name() -> None:
    recipe = load_recipe("cnn")
    assert (recipe.backend, recipe.height, recipe.width) == ("cnn", 150, 150)


def own(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_of_ones_own_states_only_what_differs(tmp_path: Path) -> None:
    recipe = load_recipe("cnn", own(tmp_path, 'backend = "scenes"\n[optimizer]\nname = "sgd"\n'))
    assert (recipe.backend, recipe.network, recipe.epochs) == ("scenes", "cnn", 40)
    assert (recipe.optimizer.name, recipe.optimizer.learning_rate) == ("sgd", 0.001)
    assert Augmentation(**recipe.augmentation.model_dump()) == Augmentation()


def test_a_file_may_name_its_network_itself(tmp_path: Path) -> None:
    assert load_recipe("cnn", own(tmp_path, 'backend = "x"\nnetwork = "residual"\n')).network == "residual"


@given(st.integers(1, 500), st.integers(2, 500))
def test_the_line_goes_before_the_file(epochs: int, batch_size: int) -> None:
    recipe = load_recipe("cnn", epochs=epochs, batch_size=batch_size)
    assert (recipe.epochs, recipe.batch_size) == (epochs, batch_size)


def test_what_the_line_does_not_say_stays() -> None:
    assert load_recipe("cnn", epochs=None, batch_size=None) == load_recipe("cnn")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('backend = "x"\nepoch = 3\n', "epoch"),
        ('backend = "x"\nepochs = 0\n', "epochs"),
        ('backend = "x"\nepochs = "many"\n', "epochs"),
        ('backend = "x"\nheight = 16\n', "height"),
        ('backend = "x"\nnetwork = "transformer"\n', "network"),
        ('backend = "x"\n[optimizer]\nname = "lion"\n', "optimizer.name"),
        ('backend = "x"\n[optimizer]\nlearning_rate = 0\n', "optimizer.learning_rate"),
        ('backend = "x"\n[augmentation]\nmin_area = 1.5\n', "augmentation.min_area"),
        ('backend = "x"\n[augmentation]\nrotate = 3\n', "augmentation.rotate"),
        ("epochs = 3\n", "backend"),
        ("backend = \n", "own.toml"),
    ],
)
def test_a_wrong_recipe_is_refused_with_file_and_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_recipe("cnn", own(tmp_path, text))
    assert "own.toml" in str(raised.value)
    assert field in str(raised.value)


def test_a_recipe_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no recipe .*nowhere\.toml; there are: cnn, .*residual"):
        load_recipe("cnn", tmp_path / "nowhere.toml")


@pytest.mark.parametrize("side", ["height", "width"])
def test_a_size_too_small_for_the_network_is_refused(tmp_path: Path, side: str) -> None:
    assert load_recipe("cnn", own(tmp_path, f'backend = "x"\n{side} = 94\n')).network == "cnn"
    assert load_recipe("residual", own(tmp_path, f'backend = "x"\n{side} = 32\n')).network == "residual"
    with pytest.raises(UsageError, match=side):
        load_recipe("cnn", own(tmp_path, f'backend = "x"\n{side} = 93\n'))


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"backend = '\xff\xfe'")
    with pytest.raises(UsageError, match=r"own\.toml"):
        load_recipe("cnn", tmp_path / "own.toml")

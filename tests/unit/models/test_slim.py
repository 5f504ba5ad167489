"""`parallax models slim`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.card_files import write_card
from models.cli import models_app
from models.errors import UsageError
from models.metadata import stored_file
from models.repository import Repository, StoredModel
from models.slim import slim
from tests.support.models import tiny_model


@pytest.fixture
def stored(tmp_path: Path) -> StoredModel:
    """A version with two precisions and the network that they came from."""
    made = tiny_model(tmp_path, precisions=("fp32", "int8"))
    (made.folder / "model.keras").write_bytes(b"a network")
    card = made.card.model_copy(update={"keras": stored_file(made.folder / "model.keras")})
    write_card(made.folder, card)
    return StoredModel(card, made.folder)


def test_what_is_taken_out_is_gone_and_the_rest_is_sound(tmp_path: Path, stored: StoredModel) -> None:
    result = CliRunner().invoke(
        models_app, ["slim", "tiny", "--without", "keras", "fp32", "--store", str(tmp_path)], catch_exceptions=False
    )
    assert result.output.startswith("tiny/1: 0.0 MB left")
    left = Repository(tmp_path).get("tiny")
    left.verify()
    assert (left.card.keras, [variant.precision for variant in left.card.variants]) == (None, ["int8"])
    assert {path.name for path in left.folder.iterdir()} == {"model.json", "model.int8.onnx", "golden.npz", "CARD.md"}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"], "no workspace is left"


@pytest.mark.parametrize(
    ("without", "message"),
    [(["fp16"], "tiny/1 has no fp16; it has fp32, int8, keras"), (["fp32", "int8"], "nothing left to serve; delete it")],
)
def test_what_can_t_be_taken_out_is_said_and_nothing_changes(
    tmp_path: Path, stored: StoredModel, without: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        slim(Repository(tmp_path), stored, without)
    again = Repository(tmp_path).get("tiny")
    again.verify()
    assert again.card == stored.card

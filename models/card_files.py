"""`model.json` in a version's folder: read whole or not at all, and written so that nobody sees half of it."""

import json
from pathlib import Path

from pydantic import ValidationError

from models.errors import BrokenModel
from models.metadata import CARD_FILE, ModelCard


def read_card(folder: Path) -> ModelCard:
    """Read `model.json` of a version's folder, which must be named as the card says. Raises `BrokenModel`."""
    path = folder / CARD_FILE
    try:
        card = ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as exc:
        raise BrokenModel(f"{folder.parent.name}/{folder.name} has no {CARD_FILE}: it is half-written or not a model") from exc
    except (OSError, ValidationError) as exc:
        raise BrokenModel(f"{folder.parent.name}/{folder.name}/{CARD_FILE} can't be read: {exc}") from exc
    if (card.name, card.version) != (folder.parent.name, folder.name):
        raise BrokenModel(f"{folder.parent.name}/{folder.name} holds a card for {card.name}/{card.version}")
    return card


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `model.json` so that a reader sees the old file or the new one, never half of it."""
    part = folder / f".{CARD_FILE}.part"
    part.write_text(json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(folder / CARD_FILE)

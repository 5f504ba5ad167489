"""`parallax customvision compare` against a real service: two backends that differ where one can tell."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import parallax
from models.errors import UsageError
from tests.support.images import plain, write_folder
from tests.support.models import tiny_model
from tests.support.server import serving

LABELS = ["dark", "grey", "bright"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven of each label; `inverted` takes the darkest for the brightest, and knows none but the grey ones."""
    grey = {"dark": 10, "grey": 128, "bright": 245}
    files = {f"{label}/{number}.png": plain(level + number) for label, level in grey.items() for number in range(-3, 4)}
    return write_folder(tmp_path / "photos", files)


def compare(*args: object) -> str:
    """What the command prints; the file of its report is `report.json` beside the photos."""
    result = CliRunner().invoke(parallax.app, ["customvision", "compare", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_labelled_images_tell_who_is_better(tmp_path: Path, photos: Path) -> None:
    tiny_model(tmp_path / "store", labels=LABELS)
    tiny_model(tmp_path / "store", "inverted", labels=LABELS, sharpness=-20)
    file = tmp_path / "report.json"
    with serving(tmp_path) as server:
        told = compare("--cloud", "tiny", "--backend", "inverted", "--sample", photos, "--server", server.url, "--out", file)
        back = compare("--cloud", "inverted", "--backend", "tiny", "--sample", photos, "--server", server.url, "--out", file)
    assert "Don't move yet" in told
    assert "Move" in back
    report = json.loads(file.read_text())
    assert report["findings"]["local_accuracy"]["correct"] == report["findings"]["images"] == 21
    assert report["local"]["usd_a_month"] > 0
    assert report["cloud"]["usd_a_month"] is None
    assert len(report["findings"]["differing"]) == 21 - report["findings"]["agreement"]["correct"]


def test_a_plain_folder_tells_how_far_they_agree(tmp_path: Path, photos: Path) -> None:
    tiny_model(tmp_path / "store", labels=LABELS)
    tiny_model(tmp_path / "store", "other", labels=LABELS)
    file = tmp_path / "report.json"
    with serving(tmp_path) as server:
        told = compare(
            *("--cloud", "tiny", "--backend", "other", "--sample", photos / "dark", "--server", server.url, "--out", file),
            *("--usd-per-1000", 2, "--monthly-images", 5000, "--limit", 4),
        )
    assert "agree on 100.0% of 4 images" in told
    assert json.loads(file.read_text())["cloud"]["usd_a_month"] == 10
    assert "accuracy" not in told.replace("accuracy is", "")


def test_a_key_is_sent_and_who_is_missing_is_said(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model(tmp_path / "store", labels=LABELS)
    tiny_model(tmp_path / "store", "other", labels=LABELS)
    tiny_model(tmp_path / "store", "strangers", labels=["cat", "dog"])
    with serving(tmp_path, api_keys="me:a-key-of-sixteen-or-more") as server:
        where = ("--sample", photos, "--server", server.url, "--out", tmp_path / "report.json")
        with pytest.raises(UsageError, match="PARALLAX_API_KEY"):
            compare("--cloud", "tiny", "--backend", "other", *where)
        monkeypatch.setenv("PARALLAX_API_KEY", "a-key-of-sixteen-or-more")
        assert "agree on" not in compare("--cloud", "tiny", "--backend", "other", *where)  # labelled: a verdict on accuracy
        with pytest.raises(UsageError, match="no backend 'nobody'; it has other, strangers, tiny"):
            compare("--cloud", "tiny", "--backend", "nobody", *where)
        with pytest.raises(UsageError, match="no label in common: dark, grey, bright and cat, dog"):
            compare("--cloud", "tiny", "--backend", "strangers", *where)
    with pytest.raises(UsageError, match="is not there"):
        compare("--cloud", "tiny", "--backend", "other", *where)

"""The pictures that are sent."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtest.bench.images import generate, label_pictures, read_pictures
from models.imaging import decode
from models.metadata import InputSpec
from models.runtime import OnnxModel
from tests.support.images import labelled, write_folder, write_zip


def test_generated_pictures_decode() -> None:
    for seed in range(8):
        assert decode(generate(seed)).shape == (150, 150, 3)


def test_they_are_the_same_each_time_and_differ_from_each_other() -> None:
    assert [generate(seed) for seed in range(4)] == [generate(seed) for seed in range(4)]
    assert len({generate(seed) for seed in range(16)}) == 16


def test_they_weigh_and_look_about_what_photographs_do() -> None:
    sizes = [len(generate(seed)) for seed in range(16)]
    assert 10_000 < np.median(sizes) < 20_000
    pixels = np.asarray(Image.open(io.BytesIO(generate(3))).convert("L"), np.float64)
    assert pixels.std() > 20
    steps = np.abs(np.diff(pixels, axis=1))
    assert np.median(steps) < 15, "smooth for the most part"
    assert steps.max() > 40, "with edges"


def test_without_a_source_they_are_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARALLAX_TEST_IMAGES", raising=False)
    pictures = read_pictures(None, 3)
    assert list(pictures.files) == [generate(0), generate(1), generate(2)]
    assert "generated" in pictures.kind


def test_the_test_set_is_found_by_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = labelled({"dark": 4, "bright": 4})
    write_zip(tmp_path / "intel-test-public.zip", files)
    monkeypatch.setenv("PARALLAX_TEST_IMAGES", str(tmp_path))
    pictures = read_pictures(None, 4)
    assert len(pictures.files) == 4
    assert set(pictures.files) <= set(files.values())
    assert str(tmp_path) not in pictures.kind
    monkeypatch.setenv("PARALLAX_TEST_IMAGES", str(tmp_path / "elsewhere"))
    assert "generated" in read_pictures(None, 1).kind


def test_a_source_gives_images_from_all_its_classes(tmp_path: Path) -> None:
    files = labelled({"dark": 10, "bright": 10})
    pictures = read_pictures(str(write_folder(tmp_path / "photos", files)), 4)
    chosen = [name for name, data in files.items() if data in pictures.files]
    assert len(chosen) == 4
    assert {name.partition("/")[0] for name in chosen} == {"dark", "bright"}
    assert len(read_pictures(str(tmp_path / "photos"), 99).files) == 20


class Bright(OnnxModel):
    """Scores by brightness alone."""

    def __init__(self) -> None:
        pass

    def run(self, images: np.ndarray) -> np.ndarray:
        bright = images.mean((1, 2, 3)) / 255
        return np.stack([1 - bright, bright], 1).astype(np.float32)


def test_images_get_the_models_label_unless_it_is_not_sure() -> None:
    def grey(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (value,) * 3).save(buffer, "PNG")
        return buffer.getvalue()

    spec = InputSpec(height=16, width=16)
    known = label_pictures([grey(0), grey(127), grey(250), b"no image"], Bright(), spec, ["dark", "bright"])
    assert [(one.data, one.label) for one in known] == [(grey(0), "dark"), (grey(250), "bright")]

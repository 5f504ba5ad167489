"""Golden vectors pass for the model they were written for, and for nothing else."""

import hashlib
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models import golden, imaging
from models.errors import BrokenModel, GoldenMismatch
from models.headers import sniff
from models.metadata import InputSpec, Precision
from models.runtime import OnnxModel
from tests.support.models import tiny_model, write_graph

SPEC = InputSpec(height=120, width=100)
CPU = "CPUExecutionProvider"

Scores = npt.NDArray[np.float32]


def brightness(images: npt.NDArray[np.uint8]) -> Scores:
    """Scores of a model that tells dark from bright and cares for every pixel."""
    weights = np.linspace(0.5, 1.5, images[0].size).reshape(images[0].shape)
    share = (images / 255 * weights).mean(axis=(1, 2, 3), dtype=np.float64)
    return np.stack([1 - share, share], axis=1).astype(np.float32)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "golden.npz"
    golden.write(path, SPEC, {"fp32": brightness, "int8": brightness, "fp16": brightness})
    return path


def rewrite(path: Path, **changed: npt.NDArray[Any] | None) -> Path:
    """Replace arrays of the file, or leave those out that are None."""
    with np.load(path, allow_pickle=False) as old:
        arrays = {name: old[name] for name in old.files} | changed
    np.savez(path, allow_pickle=True, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_they_pass_for_the_model_that_they_were_written_for(tmp_path: Path) -> None:
    stored = tiny_model(tmp_path, precisions=("fp32", "int8"))
    for variant in stored.card.variants:
        model = OnnxModel(stored.folder / variant.file, threads=1)
        path = stored.folder / stored.card.golden.file
        assert golden.check(path, stored.card.input, variant.precision, model.run, model.provider) == 0


def test_they_fail_for_other_weights(tmp_path: Path) -> None:
    stored = tiny_model(tmp_path)
    other = tmp_path / "other.onnx"
    write_graph(other, 2, sharpness=20.1)
    with pytest.raises(GoldenMismatch, match=r"golden scores differ by 0\.00\d+; 0\.0001 is allowed for fp32 on CPUExecution"):
        golden.check(stored.folder / "golden.npz", stored.card.input, "fp32", OnnxModel(other, threads=1).run, CPU)


def test_the_images_are_the_same_for_everybody_and_meet_every_step(vectors: Path) -> None:
    with np.load(vectors, allow_pickle=False) as arrays:
        files = [arrays[f"file_{number}"].tobytes() for number in range(len(arrays["pixels_sha256"]))]
        again = vectors.with_name("again.npz")
        golden.write(again, SPEC, {"fp32": brightness})
        with np.load(again, allow_pickle=False) as others:
            assert [others[f"file_{number}"].tobytes() for number in range(len(files))] == files
    kinds = {sniff(data) for data in files}
    sizes = [imaging.decode(data).shape[:2] for data in files]
    assert kinds == {"JPEG", "PNG"}
    assert any(b"Exif" in data for data in files)
    assert any(height < SPEC.height and width < SPEC.width for height, width in sizes)
    assert any(height > SPEC.height and width > SPEC.width for height, width in sizes)
    assert (SPEC.height, SPEC.width) in sizes


@pytest.mark.parametrize(
    ("precision", "provider", "allowed"),
    [
        ("fp32", CPU, 1e-4),
        ("fp32", "CUDAExecutionProvider", 5e-3),
        ("fp16", CPU, 2e-2),
        ("fp16", "CUDAExecutionProvider", 2e-2),
        ("int8", CPU, 0.1),
        ("int8", "CUDAExecutionProvider", 0.1),
    ],
)
def test_scores_may_differ_by_so_much_and_no_more(vectors: Path, precision: Precision, provider: str, allowed: float) -> None:
    def off_by(difference: float) -> Callable[[npt.NDArray[np.uint8]], Scores]:
        def run(images: npt.NDArray[np.uint8]) -> Scores:
            scores = brightness(images)
            winners = scores.argmax(axis=1)
            scores[np.arange(len(scores)), winners] += difference  # the same class still comes first
            return scores

        return run

    found = golden.check(vectors, SPEC, precision, off_by(allowed * 0.9), provider)
    assert found == pytest.approx(allowed * 0.9, rel=0.01)
    with pytest.raises(GoldenMismatch, match=f"is allowed for {precision} on {provider}"):
        golden.check(vectors, SPEC, precision, off_by(allowed * 1.1), provider)


@pytest.mark.parametrize(("precision", "passes"), [("fp32", False), ("int8", False), ("fp16", True)])
def test_another_class_in_front_is_a_mismatch_even_within_tolerance(vectors: Path, precision: Precision, passes: bool) -> None:
    near = np.tile(np.array([[0.500005, 0.499995]], np.float32), (5, 1))
    rewrite(vectors, **{f"scores_{precision}": near})

    def swapped(images: npt.NDArray[np.uint8]) -> Scores:
        return np.ascontiguousarray(near[:, ::-1])

    if passes:  # of two half floats next to each other either may win
        assert golden.check(vectors, SPEC, precision, swapped, CPU) < 1e-4
    else:
        with pytest.raises(GoldenMismatch, match="another class"):
            golden.check(vectors, SPEC, precision, swapped, CPU)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_fail(vectors: Path, precision: Precision, bad: float) -> None:
    def run(images: npt.NDArray[np.uint8]) -> Scores:
        scores = brightness(images)
        scores[-1, -1] = bad
        return scores

    with pytest.raises(GoldenMismatch):
        golden.check(vectors, SPEC, precision, run, CPU)


@pytest.mark.parametrize("columns", [1, 3])
def test_another_number_of_labels_fails(vectors: Path, columns: int) -> None:
    def run(images: npt.NDArray[np.uint8]) -> Scores:
        return np.zeros((len(images), columns), np.float32)

    with pytest.raises(GoldenMismatch, match=rf"golden scores have shape \(5, 2\), the model answers \(5, {columns}\)"):
        golden.check(vectors, SPEC, "fp32", run, CPU)


def test_pixels_that_are_decoded_otherwise_fail(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = imaging.load

    def load_otherwise(data: bytes, spec: InputSpec) -> imaging.Pixels:
        pixels = load(data, spec).copy()
        pixels[0, 0, 0] ^= 1
        return pixels

    monkeypatch.setattr(imaging, "load", load_otherwise)
    with pytest.raises(GoldenMismatch, match="golden image 0 decodes to other pixels"):
        golden.check(vectors, SPEC, "fp32", brightness, CPU)


@pytest.mark.parametrize("number", range(5))
def test_another_digest_of_any_image_fails(vectors: Path, number: int) -> None:
    with np.load(vectors, allow_pickle=False) as arrays:
        digests = arrays["pixels_sha256"].copy()
    digests[number] = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(GoldenMismatch, match=f"golden image {number} decodes"):
        golden.check(rewrite(vectors, pixels_sha256=digests), SPEC, "fp32", brightness, CPU)


def test_another_resize_fails(vectors: Path) -> None:
    other = SPEC.model_copy(update={"resize": "bicubic"})
    with pytest.raises(GoldenMismatch, match="other pixels"):
        golden.check(vectors, other, "fp32", brightness, CPU)


@pytest.mark.parametrize("missing", ["scores_fp32", "pixels_sha256", "file_0", "file_4"])
def test_vectors_that_lack_something_are_broken(vectors: Path, missing: str) -> None:
    with pytest.raises(BrokenModel, match=r"golden\.npz can't be read"):
        golden.check(rewrite(vectors, **{missing: None}), SPEC, "fp32", brightness, CPU)


class Trap:
    """Something that would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return pytest.fail, ("a pickle was run",)


@pytest.mark.parametrize("name", ["scores_fp32", "pixels_sha256", "file_0"])
def test_a_pickle_inside_is_refused_and_never_run(vectors: Path, name: str) -> None:
    with pytest.raises(BrokenModel, match="allow_pickle"):
        golden.check(rewrite(vectors, **{name: np.array([Trap()], object)}), SPEC, "fp32", brightness, CPU)


@pytest.mark.parametrize(
    "data", [b"", b"not a zip", b"PK\3\4 cut short", pickle.dumps([1])], ids=["empty", "text", "cut", "pickle"]
)
def test_a_file_that_is_no_npz_is_broken(vectors: Path, data: bytes) -> None:
    vectors.write_bytes(data)
    with pytest.raises(BrokenModel, match=r"golden\.npz can't be read"):
        golden.check(vectors, SPEC, "fp32", brightness, CPU)


def test_a_plain_array_instead_of_an_npz_is_broken(vectors: Path) -> None:
    with vectors.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(BrokenModel, match=r"golden\.npz can't be read"):
        golden.check(vectors, SPEC, "fp32", brightness, CPU)


def test_a_file_that_is_not_there_is_broken(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match=r"golden\.npz can't be read"):
        golden.check(tmp_path / "golden.npz", SPEC, "fp32", brightness, CPU)


def test_a_golden_image_that_is_none_is_the_model_s_fault(vectors: Path) -> None:
    spoilt: Mapping[str, npt.NDArray[np.uint8]] = {"file_2": np.zeros(10, np.uint8)}
    with pytest.raises((BrokenModel, GoldenMismatch)):
        golden.check(rewrite(vectors, **spoilt), SPEC, "fp32", brightness, CPU)


def test_scores_of_further_variants_are_added_to_what_was_there(vectors: Path) -> None:
    def half(images: npt.NDArray[np.uint8]) -> Scores:
        return np.sqrt(brightness(images))

    extended = vectors.with_name("extended.npz")
    with np.load(rewrite(vectors, scores_fp16=None)) as arrays:
        before = dict(arrays)
    golden.extend(vectors, extended, SPEC, {"fp16": half})
    with np.load(extended) as arrays:
        assert set(arrays.files) == {*before, "scores_fp16"}
        assert all((arrays[name] == before[name]).all() for name in before)
    assert golden.check(extended, SPEC, "fp16", half, CPU) == 0
    assert golden.check(extended, SPEC, "fp32", brightness, CPU) == 0
    with pytest.raises(GoldenMismatch):
        golden.check(extended, SPEC, "fp16", brightness, CPU)


def test_what_can_t_be_read_is_not_extended(tmp_path: Path) -> None:
    (tmp_path / "golden.npz").write_bytes(b"PK")
    with pytest.raises(BrokenModel, match=r"golden\.npz can't be read"):
        golden.extend(tmp_path / "golden.npz", tmp_path / "new.npz", SPEC, {"int8": brightness})
    assert not (tmp_path / "new.npz").exists()

"""EfficientNet-Lite: its shape, its shipped weights, and numbers that were computed without Keras."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.errors import UsageError
from models.metadata import file_sha256
from tests.support.images import picture
from training import backbones
from training.efficientnet_lite import DIGESTS, STAGES, WEIGHTS, load_weights

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]


@pytest.fixture(scope="module")
def lite0() -> keras.Model:
    return backbones.build("efficientnet_lite0", 64, 48).model


def read(name: str) -> Arrays:
    with np.load(WEIGHTS / f"{name}.npz", allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.mark.parametrize(("name", "parameters"), [("efficientnet_lite0", 3_413_024), ("efficientnet_lite2", 4_869_168)])
def test_the_shipped_weights_are_those_that_are_meant_and_small(name: str, parameters: int) -> None:
    assert file_sha256(WEIGHTS / f"{name}.npz") == DIGESTS[name]
    arrays = read(name)
    assert sum(array.size for array in arrays.values()) == parameters
    assert {array.dtype for array in arrays.values() if array.ndim == 4} == {np.dtype(np.float16)}
    assert {array.dtype for array in arrays.values() if array.ndim == 1} == {np.dtype(np.float32)}


def test_together_they_take_no_more_than_16_megabytes() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.npz")) <= 16_000_000


@pytest.mark.parametrize("name", STAGES)
def test_every_weight_of_the_network_is_one_of_the_file(name: str) -> None:
    model = backbones.build(name, 64, 64).model
    assert model.output_shape == (None, 1280)
    assert model.count_params() == sum(array.size for array in read(name).values())
    assert sorted(float(np.abs(array).sum()) for array in model.get_weights()) == pytest.approx(
        sorted(float(np.abs(array.astype(np.float32)).sum()) for array in read(name).values()), rel=1e-5
    )


# The same network in numpy, from its description: what Keras gives is not its own witness.


def same_padding(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """TensorFlow's `same`: the odd pixel is added below and to the right."""
    pads = []
    for side in x.shape[:2]:
        total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, (*pads, (0, 0)))


def convolve(x: np.ndarray, weights: np.ndarray, stride: int = 1, *, depthwise: bool = False) -> np.ndarray:
    """`x` [H,W,in], weights in PyTorch's order [out,in,k,k] ([channels,1,k,k] if depthwise) -> [H',W',out]."""
    kernel = weights.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(same_padding(x, kernel, stride), (kernel, kernel), axis=(0, 1))
    windows = windows[::stride, ::stride]  # [H',W',in,k,k]
    if depthwise:
        return np.asarray(np.einsum("hwckl,ckl->hwc", windows, weights[:, 0].astype(np.float64)))
    return np.asarray(np.einsum("hwckl,ockl->hwo", windows, weights.astype(np.float64), optimize=True))


def reference(arrays: Arrays, stages: tuple[tuple[int, ...], ...], pixels: np.ndarray) -> np.ndarray:
    """Pooled features [1280] of RGB pixels uint8 [H,W,3]."""

    def norm(x: np.ndarray, key: str) -> np.ndarray:
        gamma, beta, mean, variance = (arrays[f"{key}.{name}"] for name in ("weight", "bias", "running_mean", "running_var"))
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def relu6(x: np.ndarray) -> np.ndarray:
        return x.clip(0, 6)

    x = (pixels.astype(np.float64) - 127) / 128
    x = relu6(norm(convolve(x, arrays["_conv_stem.weight"], 2), "_bn0"))
    number = 0
    for blocks, _, first_stride, expansion, _ in stages:
        for block in range(blocks):
            key, stride, before = f"_blocks.{number}", first_stride if block == 0 else 1, x
            if expansion > 1:
                x = relu6(norm(convolve(x, arrays[f"{key}._expand_conv.weight"]), f"{key}._bn0"))
            x = relu6(norm(convolve(x, arrays[f"{key}._depthwise_conv.weight"], stride, depthwise=True), f"{key}._bn1"))
            x = norm(convolve(x, arrays[f"{key}._project_conv.weight"]), f"{key}._bn2")
            x = x + before if x.shape == before.shape else x
            number += 1
    return np.asarray(relu6(norm(convolve(x, arrays["_conv_head.weight"]), "_bn1")).mean(axis=(0, 1)))


@pytest.mark.parametrize("name", STAGES)
def test_keras_computes_what_the_description_says(name: str) -> None:
    pixels = np.asarray(picture(50, 70, seed=3))  # neither side a multiple of 32: padding shows
    model = backbones.build(name, 70, 50).model
    found = np.asarray(model(pixels[np.newaxis].astype(np.float32), training=False))[0]
    expected = reference(read(name), STAGES[name], pixels)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4)


LARGEST = {71: 4.8181, 113: 4.3253, 689: 3.0345, 897: 3.8736, 989: 2.4603, 1121: 3.0499, 1157: 3.2492, 1167: 2.8478}
"""Of `picture(224, 224, seed=5)`, with the float32 kernels that the shipped ones were rounded from: the largest features."""


def test_float16_kernels_give_nearly_what_float32_kernels_gave() -> None:
    pixels = np.asarray(picture(224, 224, seed=5))[np.newaxis].astype(np.float32)
    found = np.asarray(backbones.build("efficientnet_lite0", 224, 224).model(pixels, training=False))[0]
    np.testing.assert_allclose(found[list(LARGEST)], list(LARGEST.values()), atol=0.03)
    assert found.mean() == pytest.approx(0.15696, abs=1e-3)


def altered(change: Callable[[Arrays], object], path: Path) -> Path:
    arrays = read("efficientnet_lite0")
    change(arrays)
    np.savez(path, allow_pickle=False, **arrays)
    return path


def test_weights_of_another_network_are_refused_by_shape(lite0: keras.Model) -> None:
    with pytest.raises(
        UsageError, match=r"_blocks\.1\._depthwise|_blocks\.\d+\..* does not fit .*: these are the weights of another"
    ):
        load_weights(lite0, WEIGHTS / "efficientnet_lite2.npz")


def test_a_file_that_lacks_an_array_is_refused_with_its_name(lite0: keras.Model, tmp_path: Path) -> None:
    path = altered(lambda arrays: arrays.pop("_blocks.7._bn1.bias"), tmp_path / "weights.npz")
    with pytest.raises(UsageError, match=r"lacks _blocks\.7\._bn1\.bias"):
        load_weights(lite0, path)


@pytest.mark.parametrize("content", [b"", b"no weights", "cut"])
def test_a_file_that_is_none_is_refused(lite0: keras.Model, tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "weights.npz"
    shutil.copy(WEIGHTS / "efficientnet_lite0.npz", path)
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:100_000])
    with pytest.raises(UsageError, match=r"weights\.npz is not a readable \.npz file"):
        load_weights(lite0, path)


def test_shipped_weights_that_were_altered_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.efficientnet_lite.WEIGHTS", tmp_path)
    for content in (None, b"something else"):
        if content:
            (tmp_path / "efficientnet_lite0.npz").write_bytes(content)
        with pytest.raises(UsageError, match="is missing or altered; get it back with: git checkout"):
            backbones.build("efficientnet_lite0", 64, 64)

"""TensorFlow -> ONNX."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from models.metadata import INPUT_NAME, OUTPUT_NAME

OPSET = 17


def write_onnx(
    function: Callable[[tf.Tensor], tf.Tensor], shape: Sequence[int | None], path: Path, dtype: tf.DType = tf.float32
) -> None:
    """Write a function of one batch, such as a Keras model, as ONNX: `image` of a shape and type -> `scores`."""
    import tf2onnx

    signature = [tf.TensorSpec(shape, dtype, name=INPUT_NAME)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT_NAME: function(image)}

    def convert() -> None:
        tf2onnx.convert.from_function(serve, input_signature=signature, opset=OPSET, output_path=str(path))

    try:
        with _optimizers_may_fail():
            convert()
    except Exception:  # noqa: BLE001  # whatever an optimiser raises; this time it is passed over
        convert()


@contextmanager
def _optimizers_may_fail() -> Iterator[None]:
    """Keep tf2onnx from copying the graph before each of its optimisers.

    It does so to go back if one fails, and for InceptionResNetV2 takes 16 GB and three minutes instead of 11 GB and 40 s.
    """
    before = os.environ.get("TF2ONNX_CATCH_ERRORS")
    os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
    try:
        yield
    finally:
        del os.environ["TF2ONNX_CATCH_ERRORS"]
        if before is not None:
            os.environ["TF2ONNX_CATCH_ERRORS"] = before

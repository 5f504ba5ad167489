"""TensorFlow -> ONNX."""

from collections.abc import Callable, Sequence
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

    tf2onnx.convert.from_function(serve, input_signature=signature, opset=OPSET, output_path=str(path))

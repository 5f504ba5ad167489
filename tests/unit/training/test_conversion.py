"""How a graph is written: its values are checked where it is exported (test_export.py, parity)."""

import os
from pathlib import Path
from typing import Any

import onnx
import pytest
import tensorflow as tf
import tf2onnx

from training.conversion import write_onnx

SWITCH = "TF2ONNX_CATCH_ERRORS"


@pytest.mark.parametrize("before", [None, "TRUE"])
@pytest.mark.parametrize("fails", [False, True])
def test_optimisers_may_fail_in_a_first_try_and_are_passed_over_in_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, fails: bool
) -> None:
    if before is None:
        monkeypatch.delenv(SWITCH, raising=False)
    else:
        monkeypatch.setenv(SWITCH, before)
    real, switches = tf2onnx.convert.from_function, []

    def convert(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        switches.append(os.environ.get(SWITCH))
        if fails and len(switches) == 1:
            raise AttributeError("an optimiser's fault")
        return real(*args, **kwargs)

    monkeypatch.setattr(tf2onnx.convert, "from_function", convert)
    path = tmp_path / "model.onnx"
    write_onnx(lambda image: tf.reduce_mean(image, (1, 2)), (None, 4, 4, 3), path)
    onnx.checker.check_model(onnx.load(path))
    assert switches == (["FALSE", before] if fails else ["FALSE"])
    assert os.environ.get(SWITCH) == before

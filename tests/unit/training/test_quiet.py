"""How much TensorFlow says: set before it can be loaded, and only if nobody else has."""

import os
import subprocess
import sys

import pytest

from models.workspace import CHECKOUT

NAME = "TF_CPP_MIN_LOG_LEVEL"


@pytest.mark.parametrize(("said", "holds"), [({}, "2"), ({NAME: "0"}, "0")])
def test_tensorflow_tells_of_errors_only_unless_the_environment_says_otherwise(said: dict[str, str], holds: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != NAME} | said
    command = [sys.executable, "-c", f"import os, training; print(os.environ['{NAME}'])"]
    done = subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == holds

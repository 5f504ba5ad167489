"""Small sweeps of random weights, and the command line that runs them in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from models.workspace import CHECKOUT

SPACE = """
sampling = "random"
weights = "random"

[parameters]
model_name = "MobileNet"
image_size = 32
learning_rate = { min = 0.001, max = 0.1, log = true }
head_layers = { choice = [["dropout"], [8]] }
batch_size = 32
epochs = %d
"""


def write_space(path: Path, epochs: int) -> Path:
    """A space of one network and one size, so that its features are computed once."""
    path.write_text(SPACE % epochs, encoding="utf-8")
    return path


def start(data_dir: Path, *args: str | Path, **env: str) -> "subprocess.Popen[str]":
    """Start `parallax train automl` as the first of a process group, so that it can be killed with all its workers."""
    command = [sys.executable, "-m", "parallax", "train", "automl", *map(str, args)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_")}
    places = {"PARALLAX_DATA_DIR": str(data_dir), "PARALLAX_MODELS_DIR": str(data_dir / "store"), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        command,
        env=kept | places | {"TF_CPP_MIN_LOG_LEVEL": "3", "PARALLAX_CPUS": "2"} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

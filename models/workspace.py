"""Where the commands read and write, unless told otherwise."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


def models_dir() -> Path:
    """`PARALLAX_MODELS_DIR`, else `models/store` of the checkout."""
    return Path(os.environ.get("PARALLAX_MODELS_DIR") or CHECKOUT / "models" / "store")


def data_dir() -> Path:
    """`PARALLAX_DATA_DIR`, else `.parallax/` in the checkout: runs, downloads, databases, plans."""
    return Path(os.environ.get("PARALLAX_DATA_DIR") or CHECKOUT / ".parallax")

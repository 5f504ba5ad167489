"""The API key to send. It comes from the environment or a file, never from a command line, where others could read it."""

import os
from collections.abc import Mapping
from pathlib import Path

KEY, KEYS_FILE = "PARALLAX_API_KEY", "PARALLAX_API_KEYS_FILE"


def read_key(environment: Mapping[str, str] = os.environ) -> str:
    """PARALLAX_API_KEY, else the first key of PARALLAX_API_KEYS_FILE (name:key, as the service reads it); empty without either.

    Raises `OSError` if the file can't be read.
    """
    if key := environment.get(KEY, "").strip():
        return key
    if file := environment.get(KEYS_FILE):
        lines = filter(None, map(str.strip, Path(file).read_text(encoding="utf-8").splitlines()))
        return next(lines, "").partition(":")[2].strip()
    return ""

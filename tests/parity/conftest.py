"""Real photographs, where there are any."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

TEST_SET = "intel-test-public.zip"


@pytest.fixture(scope="session")
def photographs() -> Mapping[str, bytes]:
    """Real test images by class folder and name, sorted, as in `sea/20072.jpg`."""
    folder = os.environ.get("PARALLAX_TEST_IMAGES")
    if not folder or not (Path(folder) / TEST_SET).exists():
        pytest.skip(f"PARALLAX_TEST_IMAGES names no folder with {TEST_SET}")
    with zipfile.ZipFile(Path(folder) / TEST_SET) as archive:
        names = sorted(PurePosixPath(name) for name in archive.namelist() if name.endswith(".jpg"))
        return {f"{name.parent.name}/{name.name}": archive.read(str(name)) for name in names}

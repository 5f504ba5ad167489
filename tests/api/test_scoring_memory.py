"""The service's memory while it scores thousands of images has a bound.

With `PARALLAX_TEST_STORE`, a folder of models, `cnn` scores the test set in `PARALLAX_TEST_IMAGES` twice. `pytest -s` shows the
figures.
"""

import os
import sys
import zipfile
from pathlib import Path

import pytest

from tests.api.conftest import LABELS
from tests.support.images import labelled
from tests.support.models import tiny_model
from tests.support.server import Server, eventually, serving

STORE = os.environ.get("PARALLAX_TEST_STORE", "")
MAX_MB = 400
DRAWN_ELSEWHERE_MB = 40
"""A report's text may take so much of the service's memory; drawing it here took twice that."""


def photographs() -> dict[str, bytes]:
    """1,500 images, or the test set's 1,502, by class folder and name."""
    if not STORE:
        few = labelled(dict.fromkeys(LABELS, 5), "JPEG", 150, 150)
        return {name.replace("/", f"/{number}-"): data for number in range(100) for name, data in few.items()}
    with zipfile.ZipFile(Path(os.environ["PARALLAX_TEST_IMAGES"]) / "intel-test-public.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        return {"/".join(name.split("/")[-2:]): archive.read(name) for name in names}


def peak_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")
def test_three_thousand_images_take_less_than_400_mb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        for name, data in photographs().items():
            for copy in ("a", "b"):
                archive.writestr(name.replace("/", f"/{copy}"), data)
    if not STORE:
        tiny_model(tmp_path / "store", "cnn", labels=LABELS, height=150, width=150)
    with serving(tmp_path, models_dir=STORE or tmp_path / "store", datasets_dir=tmp_path, tune="off") as server:
        peaks = {"listening": peak_mb(server)}
        with server.client() as client:
            asked = {"dataset": "twice.zip", "backends": ["cnn"]}
            place = client.post("/v1/scorings", json=asked).raise_for_status().headers["location"]

            def over() -> bool:
                newest = client.get("/v1/scorings?limit=1").json()["scorings"][0]
                return bool(newest["state"] == "succeeded")

            eventually(over, "it has scored them")
            peaks["scored"] = peak_mb(server)
            images = client.get(place).json()["results"]["backends"][0]["answered"]
            peaks["judged"] = peak_mb(server)
            client.get(f"{place}/report").raise_for_status()
            peaks["reported"] = peak_mb(server)
    print(f"{images:,} images; peak MB: " + ", ".join(f"{when} {mb:.0f}" for when, mb in peaks.items()))
    assert images >= 3000
    assert peaks["reported"] < MAX_MB
    assert peaks["reported"] - peaks["judged"] < DRAWN_ELSEWHERE_MB
